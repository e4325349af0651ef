/** Codes of the back end in plain words, and what to do about them. */

/** Why a connection has ended, by `reason` of zoom_connection(). */
const REASONS = {
  revoked: "The app was removed in Zoom, or its access was withdrawn there.",
  owner_gone: "The Zoom account it belonged to is closed or was deactivated.",
  disabled_by_admin: "A Zoom administrator has switched this app off. Ask them to allow it, then reconnect.",
  superseded: "Zoom has replaced this connection by a newer one.",
  missing_scope: "Zoom did not grant all permissions that sessions need. Allow all of them this time.",
  connected_elsewhere: "This Zoom account is now connected by another user of this app.",
  idle: "Zoom ends connections that have not been used for 90 days.",
};

export function reasonInWords(reason) {
  return REASONS[reason] ?? "Zoom no longer accepts it.";
}

/** How connecting went, by `?error=` of the address that Zoom's consent page leads back to. */
const RETURNS = {
  access_denied: [
    "Zoom is not connected",
    "You did not allow the connection. Tap Connect Zoom if you change your mind.",
  ],
  invalid_state: ["This link cannot be used", "It was used before, or part of it is missing. Tap Connect Zoom again."],
  state_expired: ["This link has expired", "Connecting took longer than ten minutes. Tap Connect Zoom again."],
  missing_scope: [
    "Zoom did not grant all permissions",
    "Tap Connect Zoom again and allow everything that is asked for.",
  ],
  zoom_unavailable: ["Zoom is not available right now", "Nothing was connected. Try again in a few minutes."],
  token_exchange_failed: ["Zoom did not complete the connection", "Tap Connect Zoom again."],
};

export function returnInWords(code) {
  return RETURNS[code] ?? ["Something went wrong on our side", "Nothing was connected. Try again in a few minutes."];
}

/** Why Zoom has not confirmed a change, by `reason` of video_sessions_waiting(). */
const WAITING = {
  zoom_unavailable: "it does not answer right now. It is told as soon as it does",
  zoom_daily_limit: "it takes no more changes today. It is told tomorrow",
  zoom_not_connected: "connect Zoom, and it is told",
  zoom_expired: "reconnect Zoom, and it is told",
  zoom_other_account: "connect the Zoom account that this session belongs to, and it is told",
};

const UNTOLD = {
  create: "This session is being confirmed",
  update: "Zoom does not know of the change yet",
  delete: "Its meeting is still open in Zoom",
  end: "Zoom does not know yet that it is over",
};

export function waitingInWords({ kind, reason }) {
  if (reason === "given_up") return "Zoom could not be told of the change. Contact support.";
  if (reason === "meeting_running") {
    return "Its meeting still goes on in Zoom. End it there: then it is closed for everybody.";
  }
  return WAITING[reason] ? `${UNTOLD[kind]}: ${WAITING[reason]}.` : `${UNTOLD[kind]}.`;
}

/** What Zoom was not told before the host disconnected, by `left_at_zoom` of the answer; null if it knows all. */
export function leftAtZoomInWords({ changes, deletions, creations }) {
  const left = [
    changes && `${count(changes, "session has", "sessions have")} an old title or time there`,
    deletions && `${count(deletions, "meeting is", "meetings are")} still open there`,
    creations && `${count(creations, "new session is", "new sessions are")} not confirmed`,
  ].filter(Boolean);
  if (left.length === 0) return null;
  return `${left.join(", and ")}. Connect the same Zoom account again, and Zoom is told.`;
}

function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

/** Names of fields where a refusal names them, as the form calls them. */
const FIELDS = {
  title: "The title",
  description: "The notes",
  scheduled_start: "The start",
  duration_minutes: "The length",
  max_participants: "The number of people",
  participant_ids: "The people invited",
  join_url: "The link",
  timezone: "The time zone",
};

/** A sentence from a field's name and its reason: "The start must not be in the past." */
export function fieldInWords(name, reason) {
  return sayFields(`${FIELDS[name] ?? name} ${reason}.`);
}

/** A sentence of the back end with its names for fields put as the form calls them. */
export function sayFields(sentence) {
  return sentence.replace(/\b[a-z]+_[a-z]+\b/g, (name, at) => {
    const known = FIELDS[name] ?? name;
    return at === 0 ? known : known.charAt(0).toLowerCase() + known.slice(1);
  });
}

/** What can be done about a failure, beside what its sentence says: "reconnect", "retry", "reload" or nothing. */
export function remedy(problem) {
  switch (problem.code) {
    case "zoom_not_connected":
    case "zoom_expired":
    case "missing_scope":
    case "zoom_cannot_host":
    case "zoom_other_account":
      return "reconnect";
    case "session_not_found":
    case "session_ended":
    case "session_gone":
    case "zoom_outcome_unknown":
      return "reload";
    case "signed_out":
    case "creation_running":
      return problem.code === "creation_running" ? "retry" : null;
    default:
      return problem.status === 0 || problem.status >= 500 || problem.status === 409 ? "retry" : null;
  }
}

/** "5 people", "1 person" */
export function people(count) {
  return count === 1 ? "1 person" : `${count} people`;
}
