/**
 * `video-sessions doctor` against functions that answer what a deployment that went wrong answers. The real ones are
 * asked in tests/tests/stack/doctor.rs.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import { test } from "node:test";

import { doctor, FUNCTIONS } from "./doctor.mjs";

const { version } = JSON.parse(fs.readFileSync(new URL("package.json", import.meta.url), "utf8"));

/** Asks functions that answer as a good installation does, but for `changes`: other answers, by `NAME?check=WHAT`. */
async function examine(t, changes = {}) {
  const usual = (name, check) => ({
    configuration: [200, { function: name, version, problems: [], zoom: name === "zoom-sync" }],
    database: [200, {
      version, seconds_since_sync: 10, dead_letters: 0, late_changes: 0, open_creations: 0, late_revocation: 0,
    }],
    users: [200, { users: "keys_found" }],
    zoom: [200, { zoom: "accepted" }],
  })[check];
  const server = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://localhost");
    const name = pathname.split("/").pop();
    const check = searchParams.get("check");
    const [status, body] = changes[`${name}?check=${check}`] ?? changes[`*?check=${check}`] ?? usual(name, check);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const lines = [];
  const functionsUrl = `http://127.0.0.1:${server.address().port}/functions/v1`;
  const fine = await doctor({ functionsUrl, secretKey: "sb_secret_x", print: (line) => lines.push(line) });
  return { fine, wrong: lines.filter((line) => line.startsWith("WRONG")).map((line) => line.slice(6)) };
}

test("an installation without a fault is fine", async (t) => {
  assert.deepEqual(await examine(t), { fine: true, wrong: [] });
});

const configured = (name, changes) => [200, { function: name, version, problems: [], ...changes }];
const BROKEN = {
  "a function that was not deployed": [
    { "join-session?check=configuration": [404, { code: "NOT_FOUND" }] },
    "join-session: is not there. Run `supabase functions deploy join-session`.",
  ],
  "a function that the platform guards itself": [
    { "join-session?check=configuration": [401, { msg: "Missing authorization header" }] },
    "join-session: refuses the secret key that others take. Deploy it again, with verify_jwt = false.",
  ],
  "a function without a secret key": [
    { "join-session?check=configuration": [500, {}] },
    "join-session: has no secret key of the project. Set SUPABASE_SECRET_KEY, or SUPABASE_SECRET_KEYS.",
  ],
  "a function of the app's own in that place": [
    { "join-session?check=configuration": [200, { hello: "world" }] },
    "join-session: answers 200 in place of its state. Deploy this release of it.",
  ],
  "a function of an older release": [
    { "join-session?check=configuration": configured("join-session", { version: "0.0.9" }) },
    `Versions: the functions are of 0.0.9 and ${version}. Deploy all of them from one release.`,
  ],
  "a variable that is missing": [
    {
      "join-session?check=configuration": configured("join-session", {
        problems: [{ name: "APP_INVITE_URI", problem: "is no address" }],
      }),
    },
    "join-session: APP_INVITE_URI is no address. Set it with `supabase secrets set`.",
  ],
  "a token that has run out": [
    { "*?check=users": [200, { users: "token_expired" }] },
    "Users: this token has expired. Take one from a fresh sign-in.",
  ],
};
for (const [what, [changes, line]] of Object.entries(BROKEN)) {
  test(`${what} is named by its line, and by no other`, async (t) => {
    assert.deepEqual(await examine(t, changes), { fine: false, wrong: [line] });
  });
}

test("all functions of another release than this command", async (t) => {
  const older = FUNCTIONS.map((name) => [`${name}?check=configuration`, configured(name, { version: "0.0.9" })]);
  const { fine, wrong } = await examine(t, Object.fromEntries(older));
  assert.ok(!fine);
  assert.match(wrong[0], /^Versions: the functions are of 0\.0\.9, this command of /);
});

test("nobody at the address", async () => {
  const lines = [];
  const functionsUrl = "http://127.0.0.1:9/functions/v1";
  assert.equal(await doctor({ functionsUrl, secretKey: "x", print: (line) => lines.push(line) }), false);
  assert.deepEqual(lines.map((line) => line.slice(0, 32)), ["WRONG Functions: nobody answers "]);
});
