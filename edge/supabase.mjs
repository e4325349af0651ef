/**
 * A function as Supabase's Edge Runtime and Deno take it. The build puts the function's name and glue in.
 */
import { makeGlue } from "function-glue";
import { makeFunction } from "./functions-core.mjs";

/** The function, made of its compiled WebAssembly. */
export default (module) => makeFunction(FUNCTION_NAME, module, makeGlue);
