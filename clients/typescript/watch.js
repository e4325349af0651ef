/** Freshness: what happened, told as it happens. */

/** How often to ask without Realtime, in milliseconds: near a session, and otherwise. One indexed query each. */
const NEAR = 2_500;
const FAR = 4_500;
/** With Realtime, now and then all the same: a message may get lost while a phone sleeps. */
const WITH_REALTIME = 120_000;

/**
 * @param {import("@supabase/supabase-js").SupabaseClient<any, any, any, any, any>} supabase
 * @param {ReturnType<typeof import("./calls.js").calls>} call
 * @param {(event: import("./types.js").SessionEvent) => void} onEvent
 * @param {import("./types.js").WatchOptions} how
 */
export function watchEvents(supabase, call, onEvent, { realtime = true, isNear = () => true, onProblem }) {
  /** @type {Set<number> | undefined} */
  let seen;
  let live = false;
  let over = false;
  let asking = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {import("@supabase/supabase-js").RealtimeChannel | undefined} */
  let channel;

  /** @param {import("./types.js").SessionEvent} event */
  function tell(event) {
    if (over || seen?.has(event.id)) return;
    seen?.add(event.id);
    onEvent(event);
  }

  async function ask() {
    clearTimeout(timer);
    if (over || asking) return;
    asking = true;
    try {
      if (!isHidden()) {
        const newest = await call.events(20);
        // What was there before the first look is no news.
        seen ??= new Set(newest.map(({ id }) => id));
        for (const event of newest.reverse()) tell(event);
      }
    } catch (problem) {
      onProblem?.(problem);
    } finally {
      asking = false;
      if (!over) timer = setTimeout(ask, live ? WITH_REALTIME : isNear() ? NEAR : FAR);
    }
  }

  async function subscribe() {
    const user = await call.userId();
    if (over) return;
    const table = { schema: "public", table: "video_session_events" };
    const concerning = { event: "INSERT", ...table, filter: `user_id=eq.${user}` };
    channel = supabase.channel(`video-sessions:${user}`);
    channel
      .on("postgres_changes", /** @type {any} */ (concerning), (/** @type {any} */ message) => tell(message.new))
      // The server confirms the subscription of a table by a message of its own; where the table is not published, it
      // says so here, and asking goes on.
      .on("system", {}, (/** @type {any} */ message) => {
        if (message.extension === "postgres_changes") setLive(message.status === "ok");
      })
      .subscribe((status) => {
        if (status !== "SUBSCRIBED") setLive(false);
      });
  }

  /** @param {boolean} now */
  function setLive(now) {
    if (live === now || over) return;
    live = now;
    void ask();
  }

  const page = globalThis.document;
  const lookedAt = () => void (isHidden() || ask());
  page?.addEventListener("visibilitychange", lookedAt);
  void ask();
  if (realtime) subscribe().catch((problem) => onProblem?.(problem));

  return () => {
    over = true;
    clearTimeout(timer);
    page?.removeEventListener("visibilitychange", lookedAt);
    if (channel) void supabase.removeChannel(channel);
  };
}

/** Whether nobody can see the page. Outside of browsers somebody always can. */
function isHidden() {
  return globalThis.document?.visibilityState === "hidden";
}
