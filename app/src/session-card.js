/** One session in a list: when, what, with whom, and the one thing to do next. */
import { button, h, hidden, icon, show } from "./dom.js";
import { fateOf, isInterrupted } from "./phase.js";
import { clock, distance, shortDay } from "./time.js";
import { troubleSlot } from "./trouble.js";
import { people, waitingInWords } from "./words.js";

/** Whether a session has a link that may be opened. Anything but a web address is not for opening. */
export function joinable({ join_url }) {
  return /^https?:\/\//.test(join_url ?? "");
}

/** Draws a session into its place in the list. What has not changed stays. */
export function sessionCard(place, { session, person, hostName, waiting, act, now }) {
  const { phase } = session;
  const own = session.host_id === person.id;
  place.dataset.phase = phase;
  if (!place.parts) {
    place.parts = {
      when: h("div", { class: "when" }),
      what: h("div", { class: "what" }),
      trouble: troubleSlot(act.remedies),
    };
    place.append(place.parts.when, place.parts.what, place.parts.trouble.element);
  }
  const { when, what, trouble } = place.parts;
  // A past session that began on another day than planned is listed by its plan, and says when it was.
  const otherDay = phase === "past" && session.started_at && shortDay(session.started_at);
  show(when, [session.scheduled_start, session.duration_minutes], () => [
    h("time", { datetime: session.scheduled_start }, clock(session.scheduled_start)),
    h("span", { class: "soft" }, `${session.duration_minutes} min`),
  ]);
  const near = phase !== "past" && (phase === "ongoing" || new Date(session.scheduled_start) - now < 15 * 60_000);
  show(what, { session, phase, near, hostName, waiting }, () => [
    h("h3", {}, session.title),
    h("p", { class: "soft meta" }, facts(session, own, hostName)),
    phase === "past"
      ? h("p", { class: `fate ${session.status}` }, outcome(session, otherDay))
      : h("p", { class: "soon" }),
    waiting ? h("p", { class: "waiting" }, waitingInWords(waiting)) : null,
    h(
      "div",
      { class: "actions" },
      phase === "past" ? null : mainAction(session, own, near, trouble, act),
      phase !== "past" && own ? inviteButton(session, act) : null,
      detailsButton(session, act),
    ),
  ]);
  const soon = what.querySelector(".soon");
  if (soon) soon.textContent = soonness(session, phase, now);
}

function outcome(session, day) {
  const planned = shortDay(session.scheduled_start);
  return day && day !== planned ? `${fateOf(session)}, on ${day}` : fateOf(session);
}

function facts({ provider, participants, max_participants }, own, hostName) {
  const where = provider === "zoom" ? "Zoom" : "Own link";
  // Only the host sees who else is there.
  if (own) return `${where} · ${participants.length} of ${people(max_participants)}`;
  return hostName ? `${where} · with ${hostName}` : where;
}

function soonness(session, phase, now) {
  if (isInterrupted(session)) return `Interrupted since ${clock(session.ended_at)}`;
  if (phase === "ongoing") return session.started_at ? `On since ${clock(session.started_at)}` : "On now";
  const away = distance(session.scheduled_start, now);
  if (!away) return "";
  return new Date(session.scheduled_start) < now
    ? `Was to begin ${away}`
    : away === "now"
      ? "Begins now"
      : `Begins ${away}`;
}

function mainAction(session, own, near, trouble, act) {
  const weight = near ? "primary" : "secondary";
  if (own) {
    const start = (event) => act.start(session, event.currentTarget, trouble);
    return button(
      { class: `${weight} small`, "data-focus": `start-${session.id}`, onclick: start },
      session.started_at && !isInterrupted(session) ? "Rejoin" : "Start",
      hidden(` ${session.title}`),
    );
  }
  if (!joinable(session)) return null;
  return h(
    "a",
    {
      class: `button ${weight} small`,
      href: session.join_url,
      target: "_blank",
      rel: "noopener noreferrer",
      "data-focus": `join-${session.id}`,
    },
    "Join",
    hidden(` ${session.title} (opens a new tab)`),
  );
}

function inviteButton(session, act) {
  return button(
    { class: "quiet small", "data-focus": `invite-${session.id}`, onclick: () => act.copyInvite(session) },
    icon("link"),
    "Invite",
    hidden(` to ${session.title}: copies the link`),
  );
}

function detailsButton(session, act) {
  return button(
    {
      class: "quiet small icon-only",
      "data-focus": `details-${session.id}`,
      "aria-label": `More about ${session.title}`,
      onclick: () => act.details(session),
    },
    icon("more"),
  );
}
