/**
 * A function as Supabase's Edge Runtime and Deno take it. The build puts the function's name and glue in.
 */
import { makeGlue } from "function-glue";
import { makeFunction } from "./functions-core.mjs";

// Where this exists the glue takes its methods, and passes our `fetch` by.
if ("ServiceWorkerGlobalScope" in globalThis) throw new Error("this host is not Deno");

/** The function, made of its compiled WebAssembly. */
export default (module) =>
  makeFunction(FUNCTION_NAME, module, (WebAssembly, console) => makeGlue(WebAssembly, console, fetchOnce));

/**
 * `fetch` that sends a body once at most. Deno's own sends a request again if a connection that it had kept breaks before the
 * answer comes, also one that was acted on: a meeting would be made twice, a refresh token used twice. It cannot send again
 * what streams; a stream that it made of bytes itself it takes for these bytes, hence the transformation that changes
 * nothing. Without a body there are only requests that may be repeated: reading, and deleting.
 *
 * What streams goes out without a `content-length`.
 */
function fetchOnce(request) {
  if (!request.body) return fetch(request);
  const body = request.body.pipeThrough(new TransformStream());
  return fetch(new Request(request, { body, duplex: "half" }));
}
