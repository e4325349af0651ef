/**
 * Video Sessions for apps: one function for each call.
 *
 * `videoSessions(supabase, { functionsUrl })` takes the app's own supabase-js client, with whatever sign-in it has.
 * Each failure is a {@link Problem}, whose `sentence` may be shown to people. Calls wait and repeat themselves where
 * the contract says how: 409 and 503 with `Retry-After`, a lost answer, an expired sign-in once.
 */
import { calls } from "./calls.js";
import { watchEvents } from "./watch.js";

export { Problem } from "./problem.js";
export { inviteLink, readLink } from "./links.js";

/** @typedef {import("./types.js").Session} Session */
/** @typedef {import("./types.js").NewSession} NewSession */
/** @typedef {import("./types.js").SessionChanges} SessionChanges */
/** @typedef {import("./types.js").Phase} Phase */
/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./types.js").SessionEvent} SessionEvent */
/** @typedef {import("./types.js").Waiting} Waiting */
/** @typedef {import("./types.js").Connection} Connection */
/** @typedef {import("./types.js").Preview} Preview */
/** @typedef {import("./types.js").Link} Link */
/** @typedef {ReturnType<typeof videoSessions>} VideoSessions */

// Never `*`: a client asks for what it shows.
const SESSION = `id, host_id, provider, title, description, scheduled_start, timezone, duration_minutes,
  max_participants, status, phase, zoom_account, started_at, ended_at, join_url,
  invite:video_session_invites(share_code), participants:video_session_participants(user_id, role)`;

/**
 * @param {import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>} supabase the app's client
 * @param {Options} options
 */
export function videoSessions(supabase, options) {
  const call = calls(supabase, options);

  /** Zoom hears of what the database took, within seconds. If this fails, the clock does it within a minute. */
  function tellZoom() {
    const told = call.edge("zoom-sync", undefined, { patience: 0 });
    return told.then(
      (counts) => options.onSync?.(counts),
      (problem) => options.onSync?.(problem),
    );
  }

  /**
   * @param {string} sessionId
   * @param {SessionChanges} changes
   */
  async function edit(sessionId, changes) {
    const changed = await call.rows(() =>
      supabase.from("video_sessions").update(changes).eq("id", sessionId).select(SESSION),
    );
    if (changed.length === 0) throw call.notFound();
    void tellZoom();
    return /** @type {Session} */ (changed[0]);
  }

  return {
    /* The Zoom connection. */

    /** Whether the signed-in user may host. */
    async mayHost() {
      const user_id = await call.userId();
      return /** @type {boolean} */ (await call.rows(() => supabase.rpc("can_host_video_sessions", { user_id })));
    },

    /** How the connection stands. @returns {Promise<Connection>} */
    async zoomConnection() {
      return call.rows(() => supabase.rpc("zoom_connection"));
    },

    /** The address of Zoom's consent page, for a browser. Zoom leads back to the app: give what comes to `readLink`. */
    async startConnecting() {
      return (await call.edge("zoom-oauth-start")).auth_url;
    },

    /**
     * Makes the connection this user's, by the handle of the way back, and says how it stands. `success=1` alone proves
     * nothing: this does.
     * @param {string} handle
     * @returns {Promise<Connection>}
     */
    async confirmConnecting(handle) {
      await call.rows(() => supabase.rpc("confirm_zoom_connection", { handle }));
      return call.rows(() => supabase.rpc("zoom_connection"));
    },

    /** Refreshes the connection if it is due. Call it when the app is opened: an ended connection shows at once. */
    async refreshConnection() {
      return call.edge("refresh-token");
    },

    /** Revokes the connection at Zoom and forgets it. */
    async disconnect() {
      return call.edge("zoom-disconnect", undefined, { timeout: 60_000 });
    },

    /* Sessions. */

    /**
     * A page of the user's sessions, hosted and taken part in. `after` is the last session of the page before.
     * @param {Phase} phase `upcoming` and `ongoing` come by their start, `past` the newest first
     * @param {{ pageSize?: number, after?: Session }} [page]
     * @returns {Promise<Session[]>}
     */
    async list(phase, { pageSize = 20, after } = {}) {
      const page = after ? { after_start: after.scheduled_start, after_id: after.id } : {};
      const rows = await call.rows(() =>
        supabase.rpc("my_video_sessions", { phase, page_size: pageSize, ...page }).select(SESSION),
      );
      return rows;
    },

    /**
     * One session that the user hosts or takes part in.
     * @param {string} sessionId
     * @returns {Promise<Session>}
     */
    async session(sessionId) {
      const [found] = await call.rows(() => supabase.from("video_sessions").select(SESSION).eq("id", sessionId));
      if (!found) throw call.notFound();
      return found;
    },

    /**
     * Creates a session. The key makes it safe to repeat: it is repeated here while the outcome is unknown, and by the
     * app with the same key after a restart. A `Problem` with `code` `creation_running` or `zoom_outcome_unknown` means
     * that the session may still appear.
     * @param {NewSession} session
     * @param {{ idempotencyKey?: string }} [options]
     */
    async create(session, { idempotencyKey = newKey() } = {}) {
      const headers = { "idempotency-key": idempotencyKey };
      return call.edge("create-session", session, { headers, timeout: 60_000 });
    },

    /**
     * The link that makes its holder the host. Open it at once; never store it, never show it.
     * @param {string} sessionId
     */
    async start(sessionId) {
      return (await call.edge("start-session", { session_id: sessionId })).host_start_url;
    },

    /** Renames, moves, resizes; Zoom is told. */
    edit,

    /** Cancels for everybody. @param {string} sessionId */
    async cancel(sessionId) {
      return edit(sessionId, { status: "cancelled" });
    },

    /** Deletes a session with all that is known of it. @param {string} sessionId */
    async remove(sessionId) {
      const gone = await call.rows(() => supabase.from("video_sessions").delete().eq("id", sessionId).select("id"));
      if (gone.length === 0) throw call.notFound();
      void tellZoom();
    },

    /** Hands Zoom what waits now: `{sent, waiting}`. Edits, cancels and deletes do this by themselves. */
    async syncNow() {
      return call.edge("zoom-sync", undefined, { patience: 0 });
    },

    /** What Zoom has not confirmed yet, and why. @returns {Promise<Waiting[]>} */
    async waiting() {
      return call.rows(() => supabase.rpc("video_sessions_waiting"));
    },

    /* Who takes part. */

    /** What an invitation leads to, without taking a seat. @param {string} shareCode @returns {Promise<Preview>} */
    async preview(shareCode) {
      return call.edge("join-session", { share_code: shareCode, preview: true });
    },

    /** Takes a seat. @param {string} shareCode @returns {Promise<Session>} */
    async join(shareCode) {
      const joined = await call.edge("join-session", { share_code: shareCode });
      return this.session(joined.id);
    },

    /** Gives up the user's own seat. @param {string} sessionId */
    async leave(sessionId) {
      const user = await call.userId();
      const seats = () => supabase.from("video_session_participants").delete().eq("session_id", sessionId);
      await call.rows(() => seats().eq("user_id", user).select("user_id"));
    },

    /** Gives seats to users of the app. @param {string} sessionId @param {string[]} userIds */
    async invite(sessionId, userIds) {
      const seats = userIds.map((user_id) => ({ session_id: sessionId, user_id }));
      await call.rows(() => supabase.from("video_session_participants").insert(seats).select("user_id"));
    },

    /** Takes seats away; no code lets these people in again. @param {string} sessionId @param {string[]} userIds */
    async uninvite(sessionId, userIds) {
      const seats = () => supabase.from("video_session_participants").delete().eq("session_id", sessionId);
      await call.rows(() => seats().in("user_id", userIds).select("user_id"));
    },

    /** The code to share, for the host alone; `inviteLink` makes a link of it. @param {string} sessionId */
    async shareCode(sessionId) {
      const find = () => supabase.from("video_session_invites").select("share_code").eq("session_id", sessionId);
      const [found] = await call.rows(find);
      if (!found) throw call.notFound();
      return /** @type {string} */ (found.share_code);
    },

    /** Makes the old code useless, and gives the new one. @param {string} sessionId */
    async renewShareCode(sessionId) {
      await call.rows(() => supabase.rpc("renew_share_code", { session_id: sessionId }));
      return this.shareCode(sessionId);
    },

    /* What happens. */

    /**
     * The user's feed, the newest first: thirty days of it.
     * @param {{ limit?: number }} [page]
     * @returns {Promise<SessionEvent[]>}
     */
    async events({ limit = 20 } = {}) {
      return call.events(limit);
    },

    /**
     * Calls back when something happened: read again what is shown. By Supabase Realtime where the project has it, else
     * by asking every few seconds while the page is looked at. Gives what ends it.
     * @param {(event: SessionEvent) => void} onEvent
     * @param {import("./types.js").WatchOptions} [how]
     * @returns {() => void}
     */
    watch(onEvent, how = {}) {
      return watchEvents(supabase, call, onEvent, how);
    },
  };
}

/** A new key for a creation, such as an app keeps until the session is there. It has to be unique, not secret. */
export function newKey() {
  const bytes = new Uint8Array(16);
  // React Native has no `crypto` of its own.
  if (globalThis.crypto?.getRandomValues) globalThis.crypto.getRandomValues(bytes);
  else bytes.forEach((_, place) => (bytes[place] = Math.floor(Math.random() * 256)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
