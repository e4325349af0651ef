/** What a crash of the WebAssembly does to the requests around it: `node --test edge/`. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { makeFunction } from "./functions-core.mjs";

/**
 * (module
 *   (import "host" "call" (func))
 *   (func (export "boom") unreachable)
 *   (func (export "through") call 0))
 */
const module = new WebAssembly.Module(
  Uint8Array.from([
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
    0x01, 0x04, 0x01, 0x60, 0x00, 0x00,
    0x02, 0x0d, 0x01, 0x04, 0x68, 0x6f, 0x73, 0x74, 0x04, 0x63, 0x61, 0x6c, 0x6c, 0x00, 0x00,
    0x03, 0x03, 0x02, 0x00, 0x00,
    0x07, 0x12, 0x02, 0x04, 0x62, 0x6f, 0x6f, 0x6d, 0x00, 0x01,
    0x07, 0x74, 0x68, 0x72, 0x6f, 0x75, 0x67, 0x68, 0x00, 0x02,
    0x0a, 0x0a, 0x02, 0x03, 0x00, 0x00, 0x0b, 0x04, 0x00, 0x10, 0x00, 0x0b,
  ]),
);

/** How many instances were made. */
let instances;

/** In place of wasm-bindgen's glue: what a request does is in its path. */
function makeGlue(WebAssembly, console) {
  let wasm;
  return {
    initSync(options) {
      instances += 1;
      // A call from the WebAssembly back into it.
      wasm = new WebAssembly.Instance(options.module, { host: { call: () => wasm.boom() } }).exports;
    },
    async fetch(request) {
      switch (new URL(request.url).pathname) {
        case "/panic":
          console.error("Critical", new Error("Rust panic: panicked at src/lib.rs:1:2:\nsecret"));
          return wasm.boom();
        case "/nested":
          return wasm.through();
        case "/later":
          queueMicrotask(() => wasm.boom());
          return new Promise(() => {});
        case "/waiting":
          return new Promise(() => {});
        default:
          return new Response("fine");
      }
    },
    async scheduled() {
      wasm.boom();
    },
  };
}

let log;
let subject;
let pending;

beforeEach(() => {
  instances = 0;
  pending = [];
  log = mock.method(console, "log", () => {});
  mock.method(console, "error", () => {});
  subject = makeFunction("tried", module, makeGlue);
});
afterEach(() => mock.restoreAll());

const context = { waitUntil: (work) => pending.push(work) };
const get = (path) => subject.fetch(new Request(`http://host.test${path}`), {}, context);
const logged = () => log.mock.calls.map((call) => JSON.parse(call.arguments[0]));

test("one instance answers all requests", async () => {
  for (const path of ["/", "/"]) assert.equal(await (await get(path)).text(), "fine");
  assert.equal(instances, 1);
  await Promise.all(pending);
});

for (const path of ["/panic", "/nested", "/later"]) {
  test(`a crash by ${path} answers what is under way, and the next request gets a new instance`, async () => {
    const waiting = get("/waiting");
    const answers = await Promise.all([get(path), waiting]);
    for (const answer of answers) {
      assert.equal(answer.status, 500);
      assert.equal(answer.headers.get("access-control-allow-origin"), "*");
      const body = await answer.json();
      assert.equal(body.code, "internal");
      assert.equal(body.request_id, answer.headers.get("x-request-id"));
    }
    assert.equal(await (await get("/")).text(), "fine");
    assert.equal(instances, 2);
    assert.equal(logged().filter((line) => line.event === "crashed").length, 1);
  });
}

for (const [allowed, origin, heard] of [
  [undefined, "https://a.example", "*"],
  ["*", "https://a.example", "*"],
  ["https://a.example, capacitor://localhost", "https://a.example", "https://a.example"],
  ["https://a.example, capacitor://localhost", "capacitor://localhost", "capacitor://localhost"],
  ["https://a.example", "https://b.example", null],
  ["https://a.example", "null", null],
  ["https://a.example", undefined, null],
]) {
  test(`a crash is told to ${origin} where ${allowed} may call`, async () => {
    const request = new Request("http://host.test/panic", { headers: origin ? { origin } : {} });
    const answer = await subject.fetch(request, { ALLOWED_ORIGINS: allowed }, context);
    assert.equal(answer.status, 500);
    assert.equal(answer.headers.get("access-control-allow-origin"), heard);
  });
}

test("the log has the place of a panic and not its message", async () => {
  await get("/panic");
  assert.deepEqual(logged(), [{ event: "crashed", function: "tried", kind: "RuntimeError", at: "src/lib.rs:1:2" }]);
  assert.equal(console.error.mock.callCount(), 0);
});

test("a crash of a scheduled run is logged and goes no further", async () => {
  await subject.scheduled({}, {}, context);
  await Promise.all(pending);
  assert.equal(logged()[0].event, "crashed");
});
