/** Editing a session: only what has changed goes to the database. */
import { sessions } from "./service.js";
import { announce, button, h } from "./dom.js";
import { sessionForm } from "./session-form.js";
import { openSheet } from "./sheet.js";
import { ZONE } from "./time.js";
import { troubleSlot } from "./trouble.js";

export function openEdit({ session, person, guests, refresh }) {
  const seated = session.participants.map(({ user_id }) => user_id).filter((id) => id !== person.id);
  openSheet(
    "Edit session",
    (sheet) => {
      const providers = session.provider === "external" ? ["external"] : [];
      const form = sessionForm({ session, guests, picked: seated, providers });
      sheet.isTouched = form.isTouched;
      const trouble = troubleSlot({
        reload: () => {
          sheet.close();
          refresh();
        },
      });
      const save = button({ type: "submit", class: "primary wide" }, "Save changes");

      async function submit(event) {
        event.preventDefault();
        if (sheet.held) return;
        const filled = form.read();
        const problems = form.problems(filled);
        form.mark(problems);
        if (Object.keys(problems).length > 0) return;
        await trouble.around(sheet, save, "Saving…", async () => {
          await saveChanges(session, seated, filled, guests);
          await refresh();
          sheet.held = false;
          sheet.close();
          announce("The session is changed.", { visibly: true });
        });
      }

      return h(
        "form",
        { novalidate: true, onsubmit: submit },
        form.element,
        trouble.element,
        h("div", { class: "sheet-actions" }, save),
      );
    },
    { precious: true },
  );
}

async function saveChanges(session, seated, { values, picked }, guests) {
  const changes = Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== (session[name] ?? "")));
  // A new time was chosen in this person's zone.
  if (changes.scheduled_start) changes.timezone = ZONE;
  const offered = guests.map(({ user_id }) => user_id);
  const leaving = seated.filter((id) => offered.includes(id) && !picked.includes(id));
  const coming = picked.filter((id) => !seated.includes(id));
  // Seats are freed before the session shrinks, and it grows before they are taken.
  if (leaving.length > 0) await sessions.uninvite(session.id, leaving);
  if (Object.keys(changes).length > 0) await sessions.edit(session.id, changes);
  if (coming.length > 0) await sessions.invite(session.id, coming);
}
