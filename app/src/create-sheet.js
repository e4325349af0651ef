/** Creating a session, and passing its invite link on. */
import { newKey } from "../../clients/typescript/index.js";
import { Problem, sessions } from "./service.js";
import { calendarActions } from "./calendar.js";
import { copyWhenReady } from "./clipboard.js";
import { button, h, icon } from "./dom.js";
import { inviteLink, linkField } from "./invite.js";
import { sessionForm } from "./session-form.js";
import { openSheet } from "./sheet.js";
import { nextGoodStart, planInWords, ZONE } from "./time.js";
import { troubleSlot } from "./trouble.js";

/** What was asked for and has no answer yet: a reload asks again with the same key, so that it comes once. */
const KEPT = "video-sessions-creation";

/** What a creation is refused for while it may still come. */
const UNDECIDED = ["creation_running", "zoom_outcome_unknown"];

async function createOnce(person, body, key) {
  sessionStorage.setItem(KEPT, JSON.stringify({ by: person.id, body, key }));
  try {
    const session = await sessions.create(body, { idempotencyKey: key });
    sessionStorage.removeItem(KEPT);
    return session;
  } catch (error) {
    const decided = error instanceof Problem && error.status > 0 && !UNDECIDED.includes(error.code);
    if (decided) sessionStorage.removeItem(KEPT);
    throw error;
  }
}

/** After a reload: creates what was asked for before it, unless it is there already. Null where nothing was. */
export async function finishCreation(person) {
  const { by, body, key } = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
  return by === person.id ? createOnce(person, body, key) : null;
}

/** @param providers "zoom" and "external", or the latter alone */
export function openCreate({ person, guests, providers, refresh, reconnect, ended, created }) {
  openSheet(
    "New session",
    (sheet) => {
      const form = sessionForm({ session: { scheduled_start: nextGoodStart() }, guests, providers });
      sheet.isTouched = form.isTouched;
      const leaveTo = (next) => () => {
        sheet.close();
        next();
      };
      const trouble = troubleSlot({ reload: leaveTo(refresh), reconnect: leaveTo(reconnect), ended });
      const create = button({ type: "submit", class: "primary wide" }, "Create session");
      // One key for each session that is asked for, so that a second try cannot make a second meeting.
      let key = newKey();
      let asked;

      async function submit(event) {
        event.preventDefault();
        if (sheet.held) return;
        const filled = form.read();
        const problems = form.problems(filled);
        form.mark(problems);
        if (Object.keys(problems).length > 0) return;

        const body = { ...filled.values, timezone: ZONE, participant_ids: filled.picked };
        if (asked && asked !== JSON.stringify(body)) key = newKey();
        asked = JSON.stringify(body);
        await trouble.around(sheet, create, "Creating…", async () => {
          const creation = createOnce(person, body, key);
          // Begun in the tap, or else browsers deny the clipboard.
          const copying = copyWhenReady(creation.then(inviteLink));
          const session = await creation.catch(markFields);
          const copied = await copying;
          sheet.isTouched = () => false;
          sheet.replace(
            "Session created",
            summary(session, copied, () => sheet.close()),
          );
          created();
        });
      }

      /** A refusal that names fields is shown at these. */
      function markFields(error) {
        if (error instanceof Problem && form.mark(error.fields)) error.fields = {};
        throw error;
      }

      return h(
        "form",
        { novalidate: true, onsubmit: submit },
        form.element,
        trouble.element,
        h("div", { class: "sheet-actions" }, create),
      );
    },
    { precious: true },
  );
}

function summary(session, copied, close) {
  return [
    h(
      "div",
      { class: "done" },
      h("div", { class: "badge good" }, icon("check")),
      h(
        "p",
        {},
        h("strong", {}, session.title),
        h(
          "span",
          { class: "soft" },
          planInWords(session),
        ),
      ),
    ),
    h(
      "p",
      { role: "status" },
      copied
        ? "The invite link is copied. Send it to whom you want to meet."
        : "Copy the invite link and send it to whom you want to meet.",
    ),
    linkField(inviteLink(session), session.title),
    calendarActions(session),
    h("div", { class: "sheet-actions" }, button({ class: "primary wide", onclick: close }, "Done")),
  ];
}
