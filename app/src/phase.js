/** Where in its life a session is, in words. Its `phase` comes from the database. */

/** A session whose meeting has ended before its time: Start and Join go on. */
export function isInterrupted({ phase, ended_at }) {
  return phase === "ongoing" && Boolean(ended_at);
}

/** How a past session ended. */
export function fateOf({ status, provider, started_at, ended_at }) {
  if (status === "cancelled") return "Cancelled";
  if (started_at && ended_at && provider === "zoom") {
    const minutes = Math.max(1, Math.round((new Date(ended_at) - new Date(started_at)) / 60_000));
    return `Took place, ${minutes} min`;
  }
  return provider === "external" ? "Over" : started_at ? "Took place" : "Not held";
}
