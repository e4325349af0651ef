import { serve } from "../_shared/serve.ts";
import makeFunction from "./function.generated.js";

await serve(makeFunction, new URL("./index_bg.wasm", import.meta.url));
