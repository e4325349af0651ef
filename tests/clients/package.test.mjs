/** The client package by itself: what it repeats, what it reads, and Supabase Realtime by supabase-js' own protocol. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "@supabase/supabase-js";
import { inviteLink, Problem, readLink, videoSessions } from "../../clients/typescript/index.js";

const USER = "5b2d6c66-5f0a-4c0e-9f4e-3a3f6f2f8a01";

/** A client that is signed in, whose sign-in can be refreshed, and whose database answers what the test says. */
function signedIn({ refreshes = true, transport, rows = () => [] } = {}) {
  const supabase = createClient("http://127.0.0.1:1", "sb_publishable_test", {
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { transport: transport ?? NoSocket },
    global: { fetch: async (url) => Response.json(rows(url)) },
  });
  const session = (access_token) => ({ access_token, user: { id: USER } });
  let token = "old";
  supabase.auth.getSession = async () => ({ data: { session: session(token) }, error: null });
  supabase.auth.refreshSession = async () => {
    token = "new";
    return { data: { session: refreshes ? session(token) : null }, error: null };
  };
  return supabase;
}

class NoSocket {}

/** Functions that answer one after another. */
function answering(answers) {
  const asked = [];
  const fetch = async (url, { headers, body }) => {
    asked.push({ url, authorization: headers.authorization, key: headers["idempotency-key"], body });
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    const [status, json, more] = answer;
    return new Response(JSON.stringify(json), { status, headers: more });
  };
  return { asked, options: { functionsUrl: "https://functions.test/functions/v1/", fetch } };
}

const refusal = (status, code, retryAfter) => [
  status,
  { error: `This is ${code}.`, code, request_id: "7" },
  retryAfter ? { "retry-after": String(retryAfter) } : {},
];

test("a creation is repeated with its key until its outcome is known", async () => {
  const { asked, options } = answering([
    new TypeError("lost"),
    refusal(503, "zoom_outcome_unknown", 1),
    refusal(409, "creation_running", 1),
    [200, { id: "1" }],
  ]);
  const waits = [];
  const sessions = videoSessions(signedIn(), { ...options, onWait: ({ code }, seconds) => waits.push([code, seconds]) });
  assert.deepEqual(await sessions.create({ title: "x" }), { id: "1" });
  assert.equal(asked.length, 4);
  assert.equal(new Set(asked.map(({ key }) => key)).size, 1);
  assert.ok(asked[0].key.length >= 32);
  assert.equal(asked[0].url, "https://functions.test/functions/v1/create-session");
  assert.deepEqual(waits, [
    ["offline", 1],
    ["zoom_outcome_unknown", 1],
    ["creation_running", 1],
  ]);
});

test("it does not wait longer than it may, and says how long it would have been", async () => {
  const { asked, options } = answering([refusal(503, "zoom_unavailable", 120)]);
  const problem = await videoSessions(signedIn(), options).start("1").catch((error) => error);
  assert.ok(problem instanceof Problem);
  assert.deepEqual([problem.code, problem.retryAfter, problem.requestId, asked.length], ["zoom_unavailable", 120, "7", 1]);
  const daily = answering([refusal(429, "zoom_daily_limit", 2)]);
  await assert.rejects(videoSessions(signedIn(), daily.options).start("1"), { code: "zoom_daily_limit" });
  assert.equal(daily.asked.length, 1, "a limit is not tried again");
});

test("an expired sign-in is refreshed once", async () => {
  const { asked, options } = answering([refusal(401, "token_expired"), [200, { host_start_url: "https://zoom.us/s/1" }]]);
  assert.equal(await videoSessions(signedIn(), options).start("1"), "https://zoom.us/s/1");
  assert.deepEqual(asked.map(({ authorization }) => authorization), ["Bearer old", "Bearer new"]);

  const twice = answering([refusal(401, "token_expired"), refusal(401, "token_expired")]);
  await assert.rejects(videoSessions(signedIn(), twice.options).start("1"), { code: "token_expired" });
  const gone = answering([refusal(401, "unauthorized")]);
  await assert.rejects(videoSessions(signedIn({ refreshes: false }), gone.options).start("1"), { code: "unauthorized" });
  assert.equal(gone.asked.length, 1);
});

test("an edit is there although Zoom could not be told, which is said softly", async () => {
  const { options } = answering([refusal(503, "service_unavailable", 1)]);
  const outcome = await new Promise((resolve) => {
    const supabase = signedIn({ rows: () => [{ id: "1" }] });
    void videoSessions(supabase, { ...options, onSync: resolve }).edit("1", { title: "x" });
  });
  assert.equal(outcome.code, "service_unavailable");
});

test("links of both forms are read, again and again", () => {
  for (const base of ["cotrainr://video/join", "https://app.example/join", "https://app.example/join?utm=1#top"]) {
    const link = base.includes("#") ? "https://app.example/join?utm=1&share_code=AB1#top" : inviteLink(base, "AB1");
    assert.deepEqual(readLink(link), { kind: "invite", shareCode: "AB1" }, link);
  }
  const back = "cotrainr://video/zoom-connected";
  assert.deepEqual(readLink(`${back}?success=1&handle=h%2B1`), { kind: "connected", handle: "h+1" });
  assert.deepEqual(readLink(`${back}?success=1#handle=h`), { kind: "connected", handle: "h" });
  assert.deepEqual(readLink(`${back}?error=access_denied`), { kind: "refused", code: "access_denied" });
  for (const other of ["https://app.example/", "share_code=AB1", "", "mailto:a@b.c"]) assert.equal(readLink(other), null);
});

/** The server's side of Realtime: joins, confirms the table, or says that it is not published. */
function realtimeServer({ published }) {
  const server = { joined: [], socket: undefined };
  class Socket {
    readyState = 0;
    constructor() {
      server.socket = this;
      setTimeout(() => {
        this.readyState = 1;
        this.onopen?.();
      }, 0);
    }
    send(text) {
      const read = JSON.parse(text);
      const isList = Array.isArray(read);
      const [join_ref, ref, topic, event, payload] = isList
        ? read
        : [read.join_ref, read.ref, read.topic, read.event, read.payload];
      this.push = (event, payload, ref = null) => {
        const message = isList ? [join_ref, ref, topic, event, payload] : { join_ref, ref, topic, event, payload };
        this.onmessage?.({ data: JSON.stringify(message) });
      };
      if (event !== "phx_join") return this.push("phx_reply", { status: "ok", response: {} }, ref);
      server.joined.push(payload.config.postgres_changes);
      const changes = payload.config.postgres_changes.map((change, id) => ({ ...change, id: id + 1 }));
      this.push("phx_reply", { status: "ok", response: { postgres_changes: changes } }, ref);
      const status = published ? "ok" : "error";
      this.push("system", { extension: "postgres_changes", status, message: "", channel: "x" });
    }
    close() {
      this.readyState = 3;
      this.onclose?.({});
    }
    insert(record) {
      const data = { type: "INSERT", schema: "public", table: "video_session_events", commit_timestamp: "", errors: null };
      this.push("postgres_changes", { ids: [1], data: { ...data, columns: [], record } });
    }
  }
  return { server, Socket };
}

test("with Realtime, an event is told as it comes, and once", async () => {
  const { server, Socket } = realtimeServer({ published: true });
  let newest = [{ id: 1, kind: "invited" }];
  let asked = 0;
  const supabase = signedIn({ transport: Socket, rows: () => (asked++, structuredClone(newest)) });
  const told = [];
  let heard;
  const stop = videoSessions(supabase, { functionsUrl: "https://functions.test" }).watch((event) => {
    told.push(event.id);
    heard?.();
  });
  const until = (holds) =>
    new Promise((resolve) => {
      const look = () => (holds() ? resolve() : setTimeout(look, 5));
      look();
    });
  // The first look, and another one when the subscription holds: nothing falls between the two.
  await until(() => asked >= 2);
  assert.deepEqual(server.joined[0], [
    { event: "INSERT", schema: "public", table: "video_session_events", filter: `user_id=eq.${USER}` },
  ]);
  assert.deepEqual(told, [], "what was there before is no news");
  const hearing = new Promise((resolve) => (heard = resolve));
  server.socket.insert({ id: 2, kind: "moved" });
  server.socket.insert({ id: 2, kind: "moved" });
  await hearing;
  assert.deepEqual(told, [2]);
  stop();
  await supabase.removeAllChannels();
  supabase.realtime.disconnect();
});

test("without Realtime it asks, and tells in the order of what happened", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let newest = [{ id: 1 }];
  let asked = 0;
  const supabase = signedIn({ rows: () => (asked++, structuredClone(newest)) });
  const told = [];
  const sessions = videoSessions(supabase, { functionsUrl: "https://functions.test" });
  const stop = sessions.watch(({ id }) => told.push(id), { realtime: false });
  const settle = async (count) => {
    while (asked < count) await new Promise(setImmediate);
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  };
  await settle(1);
  newest = [{ id: 3 }, { id: 2 }, { id: 1 }];
  t.mock.timers.tick(4_000);
  await settle(2);
  assert.deepEqual(told, [2, 3]);
  stop();
  t.mock.timers.tick(60_000);
  await settle(2);
  assert.equal(asked, 2, "nobody asks any more");
});
