/**
 * Everything that this client asks of the back end, one function for each call.
 *
 * Three doors: edge functions (where Zoom or a secret is involved), remote procedures of the database, and its tables,
 * where row-level security decides. All failures come out as a `Problem`, whichever door they came through.
 */
import { createClient } from "@supabase/supabase-js";
import { sayFields } from "./words.js";

/** A failure, worded for a person. */
export class Problem extends Error {
  constructor({ sentence, code = "unknown", status = 0, fields = {}, retryAfter = 0, requestId = "" }) {
    super(sentence);
    this.name = "Problem";
    Object.assign(this, { sentence, code, status, fields, retryAfter, requestId });
  }
}

let supabase;

/** Reads config.json and makes the client. It lies beside index.html; the local stack makes it up. */
export async function connectToBackEnd() {
  const answer = await fetch("config.json", { cache: "no-store" }).catch(() => {
    throw offline();
  });
  const missing = { code: "no_config", sentence: "This page is not set up: config.json is missing." };
  if (!answer.ok) throw new Problem(missing);
  const config = await answer.json();
  supabase = createClient(config.supabase_url, config.publishable_key, {
    auth: {
      // One tab, one person, so that a trainer and a client can be tried side by side. An app keeps the default.
      storage: window.sessionStorage,
      // Addresses here carry `code` (an invite) and `error` (back from Zoom), which are not the sign-in's.
      detectSessionInUrl: false,
    },
  });
  // Where the functions run on another origin than the project, such as on Cloudflare Workers.
  if (config.functions_url) supabase.functionsUrl = new URL(config.functions_url);
}

/* Sign-in: Supabase Auth. */

export async function signIn(email, password) {
  const { data, error } = await supabase.auth.signInWithPassword({ email, password });
  if (error?.code === "invalid_credentials") {
    throw new Problem({
      code: error.code,
      sentence: "Email and password do not belong together. Check both and try again.",
    });
  }
  if (error) throw error.status ? new Problem({ code: error.code, sentence: error.message }) : offline();
  return person(data.user);
}

/** Who is signed in, from the last visit; `null` for nobody. */
export async function whoIsSignedIn() {
  const { data } = await supabase.auth.getSession();
  return data.session ? person(data.session.user) : null;
}

export async function signOut() {
  const { error } = await supabase.auth.signOut({ scope: "local" });
  if (error) throw offline();
}

/** Calls `then` when the sign-in has ended, by whomever. */
export function onSignedOut(then) {
  supabase.auth.onAuthStateChange((event) => event === "SIGNED_OUT" && then());
}

function person(user) {
  return {
    id: user.id,
    email: user.email,
    name: user.user_metadata?.full_name || user.user_metadata?.name || user.email,
    role: user.app_metadata?.role,
  };
}

/* The Zoom connection. */

/** Whether a person may host. The database knows; the role in the token is only a second-best guess. */
export async function mayHost({ id, role }) {
  const { data, error } = await supabase.rpc("can_host_video_sessions", { user_id: id });
  return error ? ["trainer", "nutritionist"].includes(role) : data;
}

/** `{state: "not_connected" | "connected" | "expired", zoom_account_email, expires_at, reason}` */
export async function zoomConnection() {
  return rpc("zoom_connection");
}

/** Gives the address of Zoom's consent page. Zoom sends the browser back with `?success=1` or `?error=<code>`. */
export async function startConnecting() {
  const { auth_url } = await callFunction("zoom-oauth-start");
  return auth_url;
}

/** Has tokens refreshed that are about to run out; learns whether Zoom still takes them: `{state, …}` as above. */
export async function refreshToken() {
  return callFunction("refresh-token");
}

/** Revokes the tokens at Zoom and forgets them. */
export async function disconnect() {
  return callFunction("zoom-disconnect");
}

/* Sessions. */

// Never `*`: a client asks for what it shows.
const SESSION = `id, host_id, provider, title, description, scheduled_start, timezone, duration_minutes,
  max_participants, status, started_at, ended_at, join_url, share_code,
  participants:video_session_participants(user_id, role)`;

/** All sessions that row-level security lets this person see, the host's own and those taken part in. */
export async function listSessions() {
  return rows(supabase.from("video_sessions").select(SESSION).order("scheduled_start").limit(500));
}

/**
 * Creates a session. The key makes a repetition safe: the same key and the same session give the session that the first
 * call made, not a second one. While that one is still on its way, the answer says when to ask again.
 */
export async function createSession(session, idempotencyKey, patience = 5) {
  const headers = { "Idempotency-Key": idempotencyKey };
  try {
    return await callFunction("create-session", { body: session, headers, timeout: 60_000 });
  } catch (problem) {
    if (problem.code !== "creation_running" || patience === 0) throw problem;
    await new Promise((resolve) => setTimeout(resolve, problem.retryAfter * 1_000));
    return createSession(session, idempotencyKey, patience - 1);
  }
}

/** The link that makes its holder the host, for the host alone. Never store it, never show it: open it. */
export async function startSession(sessionId) {
  const { host_start_url } = await callFunction("start-session", { body: { session_id: sessionId } });
  return host_start_url;
}

/** Renames, moves, resizes. The database tells Zoom by itself. */
export async function editSession(sessionId, changes) {
  const changed = await rows(supabase.from("video_sessions").update(changes).eq("id", sessionId).select("id"));
  if (changed.length === 0) throw gone();
}

export async function cancelSession(sessionId) {
  return editSession(sessionId, { status: "cancelled" });
}

/** Takes a seat by the code of an invite link, and gives the session. */
export async function joinByCode(shareCode) {
  const joined = await rpc("join_video_session", { share_code: shareCode });
  return Array.isArray(joined) ? joined[0] : joined;
}

export async function invite(sessionId, userIds) {
  const seats = userIds.map((user_id) => ({ session_id: sessionId, user_id }));
  await rows(supabase.from("video_session_participants").insert(seats).select("user_id"));
}

/** Gives up seats: the host those of others, anybody their own. */
export async function removeParticipants(sessionId, userIds) {
  const seats = supabase.from("video_session_participants").delete();
  await rows(seats.eq("session_id", sessionId).in("user_id", userIds).select("user_id"));
}

/** People to pick from: `[{user_id, name, email}]`. Each app knows them in its own way; nobody is offered without. */
export async function contacts() {
  const { data, error } = await supabase.rpc("video_session_contacts").abortSignal(AbortSignal.timeout(5_000));
  return error ? [] : data;
}

/* How failures arrive. */

async function callFunction(name, options) {
  const { data, error, response } = await supabase.functions.invoke(name, options);
  if (!error) return data;
  // {"error": "<sentence>", "code": "<stable>", "request_id": "…", "fields"?: {…}}
  const body = await response?.json().catch(() => null);
  if (!response) throw offline();
  throw checked(
    new Problem({
      sentence: body?.error ?? "The service does not answer as it should. Try again in a moment.",
      code: body?.code,
      status: response.status,
      fields: body?.fields,
      retryAfter: Number(response.headers.get("retry-after")) || 0,
      requestId: body?.request_id,
    }),
  );
}

async function rpc(name, values) {
  return rows(supabase.rpc(name, values));
}

async function rows(request) {
  const { data, error, status } = await request;
  if (!error) return data;
  if (!status) throw offline();
  const sentence = isForPeople(error)
    ? sayFields(error.message)
    : "This could not be done. Try again, and contact support if it happens again.";
  throw checked(new Problem({ sentence, code: error.code, status }));
}

/**
 * Whether a refusal of the database is worded for people. Those that this project raises are: they have a code in
 * words, a status of their own, or tell of a rule; what PostgREST and Postgres say by themselves is for developers.
 */
function isForPeople({ code, message }) {
  return /^[a-z_]+$|^PT\d{3}$/.test(code ?? "") || (code === "23514" && !message.startsWith("new row for relation"));
}

/** Ends a sign-in that the back end no longer takes. */
function checked(problem) {
  const signInIsOver = ["unauthorized", "token_expired", "PGRST301", "PGRST303"].includes(problem.code);
  if (signInIsOver) signOut().catch(() => {});
  return problem;
}

function offline() {
  return new Problem({
    code: "offline",
    sentence: "The service cannot be reached. Check your connection and try again.",
  });
}

function gone() {
  return new Problem({ code: "session_not_found", status: 404, sentence: "There is no such session." });
}
