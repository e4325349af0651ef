/**
 * A function as Supabase's Edge Runtime and Deno serve it. The build puts the function's name, glue and WebAssembly in:
 * a file beside the JavaScript would not arrive, since `static_files` are left out where functions are deployed without
 * Docker.
 */
import { makeGlue } from "function-glue";
import bytes from "function-wasm";
import { makeFunction } from "./functions-core.mjs";

/** What the Workers runtime gives a function beside the request. Deno by itself never stops work that goes on. */
const context = {
  waitUntil(work) {
    if (typeof EdgeRuntime !== "undefined") EdgeRuntime.waitUntil(work);
  },
  passThroughOnException() {},
};

const handler = makeFunction(FUNCTION_NAME, await WebAssembly.compile(bytes), (WebAssembly, console) =>
  makeGlue(WebAssembly, console, fetchOnce));
// Read once: what it holds changes with a new deployment only.
const env = Deno.env.toObject();
Deno.serve((request) => handler.fetch(request, env, context));

/**
 * `fetch` that sends a body once at most. Deno's own sends a request again if a connection that it had kept breaks
 * before the answer comes, also one that was acted on: a meeting would be made twice, a refresh token used twice. It
 * cannot send again what streams. Without a body there are only requests that may be repeated: reading, and deleting.
 *
 * What streams goes out without a `content-length`. A client without kept connections would send once too, and pay for
 * each call with a handshake.
 */
function fetchOnce(url, init) {
  if (!init.body) return fetch(url, init);
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(init.body);
      controller.close();
    },
  });
  return fetch(url, { ...init, body, duplex: "half" });
}
