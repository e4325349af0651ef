/**
 * What surrounds a function's WebAssembly on every host: one instance for all requests, a new one after a crash, and an
 * answer in the usual shape for the requests that a crash leaves without one. Knows nothing of Cloudflare or Deno.
 */

const CRASHED = {
  error: "Something went wrong on our side. Try again, and contact support if it happens again.",
  code: "internal",
};

/**
 * The function as an object with a handler for each kind of event.
 *
 * @param {string} name of the function, for the log
 * @param {WebAssembly.Module} module
 * @param {(WebAssembly: object, console: object) => object} makeGlue gives wasm-bindgen's JavaScript with variables of
 * its own
 */
export function makeFunction(name, module, makeGlue) {
  let current;

  /** Runs an event on the instance that is whole; rejects if it crashes meanwhile. */
  async function run(event, context, start) {
    if (!current || current.crashed) current = new Instance(name, module, makeGlue);
    const { finished, outcome } = current.run(start);
    // A client that goes away cancels nothing: what was begun at Zoom has to be written down.
    context.waitUntil(finished);
    return outcome;
  }

  return {
    async fetch(request, env, context) {
      try {
        return await run(request, context, (exports) => exports.fetch(request, env, context));
      } catch {
        return crashAnswer(request, env);
      }
    },
    async scheduled(event, env, context) {
      await run(event, context, (exports) => exports.scheduled(event, env, context)).catch(() => {});
    },
  };
}

/** One instance of the WebAssembly. Once anything has thrown out of it, its memory is in no known state. */
class Instance {
  crashed = false;
  #name;
  #exports;
  #running = new Set();
  /** How many calls into the WebAssembly, ours included, stand on the stack. */
  #depth = 0;

  constructor(name, module, makeGlue) {
    this.#name = name;
    const glue = makeGlue(this.#guardedWebAssembly(), this.#quietConsole());
    this.#calling(() => glue.initSync({ module }));
    this.#exports = glue;
  }

  #calling(call) {
    this.#depth += 1;
    try {
      return call();
    } finally {
      this.#depth -= 1;
    }
  }

  /**
   * Starts work. `finished` never rejects and comes when the work has come to its own end; `outcome` rejects as soon as
   * the instance crashes, since a crash can leave work waiting for ever.
   */
  run(start) {
    let fail;
    const crash = new Promise((_, reject) => (fail = reject));
    this.#running.add(fail);
    const work = (async () => this.#calling(() => start(this.#exports)))();
    const finished = work.then(
      () => this.#running.delete(fail),
      (error) => {
        this.#running.delete(fail);
        this.#crash(error);
      },
    );
    return { finished, outcome: Promise.race([work, crash]) };
  }

  #crash(error) {
    if (this.crashed) return;
    this.crashed = true;
    console.log(JSON.stringify({ event: "crashed", function: this.#name, kind: error?.name, at: this.#panickedAt }));
    for (const fail of this.#running) fail(error);
    this.#running.clear();
  }

  /**
   * `WebAssembly` as the glue sees it. An error that leaves an export is a crash. Our own callers get the error. The
   * host's calls, such as a promise's callback, must not: nothing catches it there, and Deno ends the process.
   */
  #guardedWebAssembly() {
    const guard = (call) => {
      if (typeof call !== "function") return call;
      return (...values) => {
        try {
          return this.#calling(() => call(...values));
        } catch (error) {
          this.#crash(error);
          if (this.#depth > 0) throw error;
          return []; // The glue looks for results in it.
        }
      };
    };
    class Guarded {
      constructor(module, imports) {
        const { exports } = new WebAssembly.Instance(module, imports);
        this.exports = Object.fromEntries(Object.entries(exports).map(([key, value]) => [key, guard(value)]));
      }
    }
    return { Module: WebAssembly.Module, Instance: Guarded };
  }

  #panickedAt;

  /** The console without panic messages: these can hold what was in the request. The place in the source is kept. */
  #quietConsole() {
    const error = (...values) => {
      const place = /Rust panic: panicked at ([^\s]+):\n/.exec(String(values[1]?.message));
      if (values[0] === "Critical" && place) this.#panickedAt = place[1];
      else console.error(...values);
    };
    return { debug: console.debug, error, info: console.info, log: console.log, warn: console.warn };
  }
}

/** Which origin may read the answer, as the function itself says it: `*`, or the one that asks if it is on the list. */
function allowedOrigin(request, env) {
  const allowed = String(env?.ALLOWED_ORIGINS ?? "")
    .split(",")
    .map((origin) => origin.trim().replace(/\/$/, "").toLowerCase())
    .filter(Boolean);
  if (allowed.length === 0 || allowed.includes("*")) return { "access-control-allow-origin": "*" };
  const origin = request.headers.get("origin");
  const mayRead = origin && origin !== "null" && allowed.includes(origin.toLowerCase());
  return { vary: "origin", ...(mayRead && { "access-control-allow-origin": origin }) };
}

function crashAnswer(request, env) {
  const requestId = crypto.randomUUID();
  return Response.json(
    { ...CRASHED, request_id: requestId },
    {
      status: 500,
      headers: {
        "content-type": "application/json",
        "x-request-id": requestId,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        ...allowedOrigin(request, env),
      },
    },
  );
}
