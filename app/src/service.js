/**
 * What this client asks of the back end: Video Sessions by its package, and what is an app's own, the sign-in and the
 * people whom somebody knows.
 */
import { createClient } from "@supabase/supabase-js";
import { Problem, videoSessions } from "../../clients/typescript/index.js";

export { Problem };

const OFFLINE = "The service cannot be reached. Check your connection and try again.";

let supabase;
/** Video Sessions, once `connectToBackEnd` has run. */
export let sessions;
/** Whether the project has Supabase Realtime. */
export let realtime = false;

/** Reads config.json and makes the client. It lies beside index.html; the local stack makes it up. */
export async function connectToBackEnd() {
  const answer = await fetch("config.json", { cache: "no-store" }).catch(() => {
    throw new Problem({ code: "offline", sentence: OFFLINE });
  });
  if (!answer.ok) {
    throw new Problem({ code: "no_config", sentence: "This page is not set up: config.json is missing." });
  }
  const config = await answer.json();
  realtime = Boolean(config.realtime);
  supabase = createClient(config.supabase_url, config.publishable_key, {
    // Addresses here carry `error` (back from Zoom), which is not the sign-in's.
    auth: { detectSessionInUrl: false, ...oneSignInForEachTab() },
  });
  // Where the functions run on another origin than the project, such as on Cloudflare Workers.
  const functionsUrl = config.functions_url ?? `${config.supabase_url}/functions/v1`;
  sessions = videoSessions(supabase, { functionsUrl, onSync });
}

/** On the local stack a trainer and a client can be tried side by side: one tab, one person. */
function oneSignInForEachTab() {
  return ["127.0.0.1", "localhost"].includes(location.hostname) ? { storage: window.sessionStorage } : {};
}

/** The clock tells Zoom within a minute: no reason to alarm anybody. */
function onSync(outcome) {
  if (outcome instanceof Problem) console.info(`Zoom is told later: ${outcome.sentence}`);
}

/* Sign-in: Supabase Auth. */

export async function signIn(email, password) {
  const { data, error } = await supabase.auth.signInWithPassword({ email, password });
  if (error?.code === "invalid_credentials") {
    throw new Problem({ code: error.code, status: 400, sentence: "Wrong email or password." });
  }
  if (error) {
    const sentence = error.status ? error.message : OFFLINE;
    throw new Problem({ code: error.code, status: error.status, sentence });
  }
  return person(data.user);
}

/** Who is signed in, from the last visit; `null` for nobody. */
export async function whoIsSignedIn() {
  const { data } = await supabase.auth.getSession();
  return data.session ? person(data.session.user) : null;
}

export async function signOut() {
  const { error } = await supabase.auth.signOut({ scope: "local" });
  if (error) throw new Problem({ code: "offline", sentence: OFFLINE });
}

/** Calls `then` when the sign-in has ended, whatever ended it. */
export function onSignedOut(then) {
  supabase.auth.onAuthStateChange((event) => event === "SIGNED_OUT" && then());
}

function person(user) {
  return {
    id: user.id,
    email: user.email,
    name: user.user_metadata?.full_name || user.user_metadata?.name || user.email,
  };
}

/** People to pick from: `[{user_id, name, email}]`. Each app knows them in its own way; without, nobody is offered. */
export async function contacts() {
  const { data, error } = await supabase.rpc("video_session_contacts").abortSignal(AbortSignal.timeout(5_000));
  return error ? [] : data;
}
