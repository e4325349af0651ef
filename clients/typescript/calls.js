/** How calls are made: who asks, what is repeated, how failures arrive. */
import { offline, Problem, signedOut } from "./problem.js";

/** So long a call goes on repeating itself, in milliseconds. */
const PATIENCE = 60_000;

/** What PostgREST and the functions say of a sign-in that is over. */
const SIGN_IN_IS_OVER = ["token_expired", "unauthorized", "PGRST301", "PGRST303"];

/**
 * @param {import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>} supabase
 * @param {import("./types.js").Options} options
 */
export function calls(supabase, { functionsUrl, fetch: ownFetch, patience: mostPatience = PATIENCE, onWait }) {
  /** @type {Promise<boolean> | undefined} */
  let refreshing;

  /** Refreshes the sign-in, once for all calls that need it. */
  function refreshSignIn() {
    refreshing ??= supabase.auth
      .refreshSession()
      .then(({ data }) => Boolean(data.session))
      .finally(() => (refreshing = undefined));
    return refreshing;
  }

  /**
   * Runs a call again where the contract says so.
   * @template T
   * @param {() => Promise<T>} run
   * @param {number} patience
   * @param {boolean} repeatable whether a second call after a lost answer does no harm
   * @returns {Promise<T>}
   */
  async function withPatience(run, patience, repeatable) {
    const deadline = Date.now() + patience;
    let mayRefresh = patience > 0;
    let losses = 0;
    for (;;) {
      try {
        return await run();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (mayRefresh && SIGN_IN_IS_OVER.includes(error.code)) {
          mayRefresh = false;
          if (await refreshSignIn()) continue;
          throw error;
        }
        const lost = error.status === 0 && repeatable && ++losses < 3;
        const told = [409, 503].includes(error.status) && error.retryAfter > 0;
        const wait = told ? error.retryAfter * 1000 : losses * 1000;
        if (!(lost || told) || Date.now() + wait > deadline) throw error;
        onWait?.(error, wait / 1000);
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  async function accessToken() {
    const { data, error } = await supabase.auth.getSession();
    if (error && !data.session) throw error.status ? signedOut() : offline(error);
    if (!data.session) throw signedOut();
    return data.session.access_token;
  }

  /**
   * @param {string} name
   * @param {unknown} body
   * @param {Record<string, string>} headers
   * @param {number} timeout
   */
  async function callOnce(name, body, headers, timeout) {
    const token = await accessToken();
    // React Native has no `AbortSignal.timeout`.
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(), timeout);
    const answer = await (ownFetch ?? globalThis.fetch)(`${functionsUrl.replace(/\/$/, "")}/${name}`, {
      method: "POST",
      headers: { ...headers, authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: ending.signal,
    })
      .then(async (received) => {
        const { ok, status, headers } = received;
        return { ok, status, headers, text: await received.text() };
      })
      .catch((cause) => {
        throw offline(cause);
      })
      .finally(() => clearTimeout(timer));
    const read = parsed(answer.text);
    if (answer.ok && read) return read;
    throw new Problem({
      sentence: read?.error ?? "The service does not answer as it should. Try again in a moment.",
      code: read?.code,
      status: answer.status,
      fields: read?.fields,
      retryAfter: Number(answer.headers.get("retry-after")) || 0,
      requestId: read?.request_id ?? answer.headers.get("x-request-id") ?? "",
    });
  }

  /**
   * Runs a query of supabase-js, made again for each try, since a query runs once.
   * @param {() => PromiseLike<{ data: any, error: any, status: number }>} query
   * @returns {Promise<any>}
   */
  async function runOnce(query) {
    const { data, error, status } = await query();
    if (!error) return data;
    if (!status) throw offline(error);
    const sentence = isForPeople(error)
      ? error.message
      : "This could not be done. Try again, and contact support if it happens again.";
    throw new Problem({ sentence, code: error.code, status });
  }

  /** @param {() => PromiseLike<{ data: any, error: any, status: number }>} query */
  const rows = (query) => withPatience(() => runOnce(query), mostPatience, false);

  return {
    rows,

    /**
     * Calls an edge function. All of them may be repeated: with their key or by their nature.
     * @template {keyof import("./types.js").Answers} Name
     * @param {Name} name
     * @param {unknown} [body]
     * @param {{ headers?: Record<string, string>, timeout?: number, patience?: number }} [how]
     * @returns {Promise<import("./types.js").Answers[Name]>}
     */
    edge(name, body, { headers = {}, timeout = 30_000, patience = mostPatience } = {}) {
      return withPatience(() => callOnce(name, body, headers, timeout), patience, true);
    },

    /**
     * @param {number} limit
     * @returns {Promise<import("./types.js").SessionEvent[]>}
     */
    events(limit) {
      const columns = "id, session_id, kind, details, created_at";
      const newest = () => supabase.from("video_session_events").select(columns).order("id", { ascending: false });
      return rows(() => newest().limit(limit));
    },

    async userId() {
      const { data } = await supabase.auth.getSession();
      if (!data.session) throw signedOut();
      return data.session.user.id;
    },

    notFound() {
      return new Problem({ code: "session_not_found", status: 404, sentence: "There is no such session." });
    },
  };
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Whether a refusal of the database is worded for people. Those that Video Sessions raises are: they have a code in
 * words, a status of their own, or tell of a rule. What PostgREST and Postgres say by themselves is for developers.
 * @param {{ code?: string, message: string }} error
 */
function isForPeople({ code, message }) {
  return /^[a-z_]+$|^PT\d{3}$/.test(code ?? "") || (code === "23514" && !message.startsWith("new row for relation"));
}
