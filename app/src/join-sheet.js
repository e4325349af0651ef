/** Joining by the code or the link that a host has passed on. */
import { sessions } from "./service.js";
import { announce, button, h } from "./dom.js";
import { codeIn, readable } from "./invite.js";
import { openSheet } from "./sheet.js";
import { clock, dayName } from "./time.js";
import { troubleSlot } from "./trouble.js";

/** @param code from an invite link that was opened */
export function openJoin({ code = "", joined }) {
  openSheet(code ? "You are invited" : "Join by code", (sheet) => {
    const trouble = troubleSlot();
    const input = h("input", {
      id: "code",
      type: "text",
      value: code,
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
      await trouble.around(sheet, join, "Joining…", async () => {
        const session = await sessions.join(entered);
        await joined(session);
        sheet.held = false;
        sheet.close();
        announce(
          `You are in: ${session.title}, ${dayName(session.scheduled_start)} at ${clock(session.scheduled_start)}.`,
          { visibly: true },
        );
      });
    }

    return h(
      "form",
      { novalidate: true, onsubmit: submit },
      code
        ? h(
            "p",
            {},
            "Join, and the session appears among yours. ",
            h("span", { class: "soft block" }, `Code ${readable(code)}`),
          )
        : h(
            "div",
            { class: "field" },
            h("label", { for: "code" }, "Code or invite link"),
            input,
            h("p", { class: "hint", id: "code-hint" }, "Your host has it, and can send it to you."),
          ),
      trouble.element,
      h("div", { class: "sheet-actions" }, join),
    );
  });
}
