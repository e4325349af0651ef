/** Where in its life a session is. */

/** A session that never began stays among the upcoming ones for this long after it should have been over. */
const GRACE = 3_600_000;

/** "ongoing", "upcoming" or "past" */
export function phaseOf(session, now = new Date()) {
  if (session.status !== "scheduled" || session.ended_at) return "past";
  const start = new Date(session.scheduled_start).getTime();
  const end = start + session.duration_minutes * 60_000;
  // Nobody tells us when people meet by a link of the host's own: the clock does.
  if (session.provider === "external") return now < start ? "upcoming" : now < end ? "ongoing" : "past";
  if (session.started_at) return "ongoing";
  return now < end + GRACE ? "upcoming" : "past";
}

/** What became of a past session. */
export function fateOf({ status, provider, started_at, ended_at }) {
  if (status === "cancelled") return "Cancelled";
  if (started_at && ended_at)
    return `Took place, ${Math.max(1, Math.round((new Date(ended_at) - new Date(started_at)) / 60_000))} min`;
  return status === "ended" || provider === "external" ? "Over" : "Not held";
}
