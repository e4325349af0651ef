/**
 * Serves a function on Supabase's Edge Runtime, and on Deno itself. Every function's `index.ts` is alike: it hands over what
 * `cargo xtask build --for supabase` generated beside it.
 */

/** A function as the Workers runtime calls it. */
type Handler = {
  fetch(request: Request, env: Record<string, string>, context: Context): Promise<Response>;
};

/** What the Workers runtime gives a function beside the request. */
type Context = {
  waitUntil(work: Promise<unknown>): void;
  passThroughOnException(): void;
};

/** Supabase's way to let work go on after the answer; Deno by itself never stops it. */
declare const EdgeRuntime: { waitUntil(work: Promise<unknown>): void } | undefined;

const context: Context = {
  waitUntil(work) {
    if (typeof EdgeRuntime !== "undefined") EdgeRuntime.waitUntil(work);
  },
  passThroughOnException() {},
};

/** Compiles the WebAssembly at `wasm` and serves the function that `make` makes of it. */
export async function serve(make: (module: WebAssembly.Module) => Handler, wasm: URL): Promise<void> {
  const handler = make(await WebAssembly.compile(await Deno.readFile(wasm)));
  // Read once: what it holds changes with a new deployment only.
  const env = Deno.env.toObject();
  Deno.serve((request) => handler.fetch(request, env, context));
}
