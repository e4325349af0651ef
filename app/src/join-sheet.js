/** Joining by the code or the link that a host has passed on. */
import { sessions } from "./service.js";
import { announce, button, fact, h, show } from "./dom.js";
import { codeIn, readable } from "./invite.js";
import { openSheet } from "./sheet.js";
import { planInWords, ZONE } from "./time.js";
import { troubleSlot } from "./trouble.js";

/**
 * @param code from an invite link that was opened: what it leads to is shown first
 * @param person who is signed in
 */
export function openJoin({ code, person, joined }) {
  openSheet(code ? "You are invited" : "Join by code", (sheet) => {
    const trouble = troubleSlot();
    const enter = (pressed, label, entered) =>
      trouble.around(sheet, pressed, label, async () => {
        const session = await sessions.join(entered);
        await joined(session);
        sheet.held = false;
        sheet.close();
        const own = session.host_id === person.id;
        announce(
          `${own ? "Your own session" : "You are in"}: ${session.title}, ${planInWords(session)}.`,
          { visibly: true },
        );
      });
    return code ? invitation(code, trouble, enter) : byCode(sheet, trouble, enter);
  });
}

/** Who invites, to what and when, before a seat is taken. */
function invitation(code, trouble, enter) {
  const place = h("div", { class: "invitation", "aria-live": "polite", "aria-busy": "true" });
  show(place, null, () => h("p", { class: "soft" }, "Looking up the invitation…"));

  async function look() {
    try {
      const preview = await sessions.preview(code);
      show(place, preview, described);
    } catch (error) {
      place.replaceChildren(h("p", { class: "soft" }, `Code ${readable(code)}`));
      trouble.report(error, look);
    }
    place.setAttribute("aria-busy", "false");
  }

  function described({ title, host_name, seats_left, joined, ...plan }) {
    const seats = seats_left === 1 ? "1 seat is left" : `${seats_left} seats are left`;
    const [label, doing] = joined ? ["Show session", "Opening…"] : ["Join session", "Joining…"];
    return [
      h("p", {}, `${host_name ?? "A host"} invites you to “${title}”.`),
      h(
        "dl",
        { class: "facts" },
        fact("When", planInWords(plan), `Times in ${ZONE}`),
        fact("Seats", joined ? "You have one already" : seats),
      ),
      h(
        "div",
        { class: "sheet-actions" },
        button({ class: "primary wide", onclick: (event) => enter(event.currentTarget, doing, code) }, label),
      ),
    ];
  }

  void look();
  return [place, trouble.element];
}

/** By what the host has read out or sent. */
function byCode(sheet, trouble, enter) {
  const input = h("input", {
    id: "code",
    type: "text",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: "500",
    "aria-describedby": "code-hint",
  });
  const join = button({ type: "submit", class: "primary wide" }, "Join session");

  async function submit(event) {
    event.preventDefault();
    const entered = codeIn(input.value);
    if (sheet.held) return;
    if (!entered) {
      trouble.tell({ sentence: "Enter the code of the session first." });
      input.focus();
      return;
    }
    await enter(join, "Joining…", entered);
  }

  return h(
    "form",
    { novalidate: true, onsubmit: submit },
    h(
      "div",
      { class: "field" },
      h("label", { for: "code" }, "Code or invite link"),
      input,
      h("p", { class: "hint", id: "code-hint" }, "Your host has it, and can send it to you."),
    ),
    trouble.element,
    h("div", { class: "sheet-actions" }, join),
  );
}
