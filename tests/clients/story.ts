/** What an app does with the package, on each platform alike. */
import { createClient } from "@supabase/supabase-js";
import { newKey, Problem, readLink, videoSessions, type Session } from "../../clients/typescript/index.js";

export interface Place {
  url: string;
  key: string;
  email: string;
  password: string;
  /** What supabase-js takes for a WebSocket where the platform has none; nothing is watched here. */
  transport?: typeof WebSocket;
}

/** Faults of a network, each once: the first creation's answer is lost, a token is refused as not fresh, a wait. */
function unreliable(fetch: typeof globalThis.fetch, happened: string[]): typeof globalThis.fetch {
  return async (input, init) => {
    const name = String(input).split("/").pop() ?? "";
    const once = (fault: string) => !happened.includes(fault) && happened.push(fault);
    const refusal = (status: number, code: string, headers: Record<string, string> = {}) =>
      new Response(JSON.stringify({ error: "Not now.", code, request_id: "0" }), { status, headers });
    if (name === "create-session" && once("sign-in expired")) return refusal(401, "token_expired");
    if (name === "create-session" && once("busy")) return refusal(503, "service_unavailable", { "retry-after": "1" });
    const answer = await fetch(input, init);
    if (name === "create-session" && answer.ok && once("answer lost")) throw new TypeError("connection lost");
    return answer;
  };
}

export async function story({ url, key, email, password, transport }: Place): Promise<string> {
  const realtime = transport ? { transport } : {};
  const supabase = createClient(url, key, { auth: { persistSession: false }, realtime });
  const signedIn = await supabase.auth.signInWithPassword({ email, password });
  if (signedIn.error) throw signedIn.error;

  const faults: string[] = [];
  const waits: string[] = [];
  const sessions = videoSessions(supabase, {
    functionsUrl: `${url}/functions/v1`,
    fetch: unreliable(globalThis.fetch, faults),
    onWait: (problem) => waits.push(problem.code),
  });
  check(await sessions.mayHost(), "this user hosts");
  check((await sessions.zoomConnection()).state === "not_connected", "nothing is connected");
  const consent = new URL(await sessions.startConnecting());
  check(consent.searchParams.has("state"), "the consent page has a state");

  const soon = new Date(Date.now() + 3_600_000).toISOString();
  const wish = {
    title: `Of ${key.length} and ${newKey()}`,
    scheduled_start: soon,
    duration_minutes: 30,
    max_participants: 3,
    provider: "external",
    join_url: "https://meet.example/room",
  } as const;
  const idempotencyKey = newKey();
  const created = await sessions.create(wish, { idempotencyKey });
  check(faults.join() === "sign-in expired,busy,answer lost", `all faults happened: ${faults}`);
  check(waits.join() === "service_unavailable,offline", `it waited: ${waits}`);
  const again = await sessions.create(wish, { idempotencyKey });
  check(again.id === created.id, "the same key gives the same session");

  const edited: Session = await sessions.edit(created.id, { title: "Renamed", duration_minutes: 45 });
  check(edited.title === "Renamed" && edited.duration_minutes === 45, "edited");
  check((await sessions.session(created.id)).participants.length === 1, "the host takes part");
  const refused = await problemOf(sessions.edit(created.id, { duration_minutes: 31 }));
  check(refused.sentence === "duration_minutes must be 30, 45 or 60.", refused.sentence);
  const invalid = await problemOf(sessions.create({ ...wish, title: "" }));
  check(invalid.code === "invalid_request" && Boolean(invalid.fields.title), JSON.stringify(invalid.fields));
  check((await problemOf(sessions.session("00000000-0000-4000-8000-000000000000"))).status === 404, "not found");

  await sessions.cancel(created.id);
  const kinds = (await sessions.events()).filter(({ session_id }) => session_id === created.id).map(({ kind }) => kind);
  check(kinds.reverse().join() === "created,moved,renamed,cancelled", `the feed: ${kinds}`);
  await sessions.remove(created.id);

  const link = readLink("myapp://video/join?share_code=7K2M9QX4TRV8");
  check(link?.kind === "invite" && link.shareCode === "7K2M9QX4TRV8", "an invitation is read");
  await supabase.auth.signOut();
  check((await problemOf(sessions.zoomConnection())).status > 0, "signed out");
  return `${faults.length} faults survived`;
}

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`does not hold: ${what}`);
}

async function problemOf(call: Promise<unknown>): Promise<Problem> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error("no refusal");
}
