/** All about one session, and what is done more rarely: edit, cancel, leave. */
import { calendarActions } from "./calendar.js";
import { sessions } from "./service.js";
import { button, fact, h } from "./dom.js";
import { inviteLink, linkField } from "./invite.js";
import { fateOf } from "./phase.js";
import { confirmInSheet, openSheet } from "./sheet.js";
import { planInWords, ZONE } from "./time.js";
import { people } from "./words.js";

export function openDetails({ session, person, nameOf, edit, refresh }) {
  const own = session.host_id === person.id;
  const { phase } = session;
  openSheet(session.title, (sheet) => {
    const then = (next) => () => {
      sheet.close();
      next();
    };
    return [
      h(
        "dl",
        { class: "facts" },
        fact("When", planInWords(session), `Times in ${ZONE}`),
        phase === "past" ? fact("Outcome", fateOf(session)) : null,
        own || !nameOf(session.host_id) ? null : fact("Host", nameOf(session.host_id)),
        fact("Where", session.provider === "zoom" ? "Zoom" : "The host's own link", session.zoom_account),
        own
          ? fact(
              "Who",
              `${session.participants.length} of ${people(session.max_participants)}, you included`,
              guests(session, person, nameOf),
            )
          : null,
        session.description ? fact("Notes", session.description) : null,
      ),
      phase !== "past" ? calendarActions(session) : null,
      own && phase !== "past"
        ? h(
            "div",
            {},
            h("h3", {}, "Invite"),
            linkField(inviteLink(session), session.title),
            button({ class: "quiet small", onclick: then(() => askToRenew(session, refresh)) }, "Make a new link"),
          )
        : null,
      h(
        "div",
        { class: "sheet-actions" },
        own && session.status === "scheduled" && phase !== "ongoing"
          ? button({ class: "secondary", onclick: then(() => edit(session)) }, "Edit")
          : null,
        own && session.status === "scheduled"
          ? button({ class: "danger quiet", onclick: then(() => askToCancel(session, refresh)) }, "Cancel session")
          : null,
        !own && phase !== "past"
          ? button(
              { class: "danger quiet", onclick: then(() => askToLeave(session, person, refresh)) },
              "Leave session",
            )
          : null,
      ),
    ];
  });
}

function guests({ participants }, person, nameOf) {
  const names = participants
    .filter(({ user_id }) => user_id !== person.id)
    .map(({ user_id }) => nameOf(user_id) ?? "somebody with the invite link");
  return names.length > 0 ? names.join(", ") : "Nobody else yet";
}

function askToRenew(session, refresh) {
  confirmInSheet({
    title: "Make a new invite link?",
    text: "The old link and code stop working at once. Whoever has a seat keeps it.",
    keep: "Keep the link",
    act: "Make a new link",
    acting: "Making it…",
    tone: "primary",
    run: async () => {
      await sessions.renewShareCode(session.id);
      await refresh();
    },
    done: "There is a new invite link.",
  });
}

function askToCancel(session, refresh) {
  confirmInSheet({
    title: "Cancel this session?",
    text: [
      `“${session.title}” is cancelled for everybody`,
      session.provider === "zoom" ? ", and its meeting is deleted in Zoom" : "",
      ". This cannot be undone.",
    ].join(""),
    keep: "Keep it",
    act: "Cancel session",
    acting: "Cancelling…",
    run: async () => {
      await sessions.cancel(session.id);
      await refresh();
    },
    done: "The session is cancelled.",
  });
}

function askToLeave(session, person, refresh) {
  confirmInSheet({
    title: "Leave this session?",
    text: `You give up your seat in “${session.title}”. With the invite link you can come back while there is one.`,
    keep: "Stay",
    act: "Leave session",
    acting: "Leaving…",
    run: async () => {
      await sessions.leave(session.id);
      await refresh();
    },
    done: "You have left the session.",
  });
}
