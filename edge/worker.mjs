/**
 * A function as a Cloudflare Worker. The build puts the function's name and glue in, and the WebAssembly beside it.
 */
import { makeGlue } from "function-glue";
import module from "./index_bg.wasm";
import { makeFunction } from "./functions-core.mjs";

export default makeFunction(FUNCTION_NAME, module, makeGlue);
