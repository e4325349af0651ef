/** A place where a failure is shown: what happened, and what to do now. */
import { busy, button, h, icon } from "./dom.js";
import { Problem } from "./service.js";
import { fieldInWords, remedy, sayFields } from "./words.js";

const FAULT = "Something went wrong on this page. Reload it, and contact support if it happens again.";

/**
 * @param offers what can be done about it here, each a function where there is one: `reconnect` Zoom, `reload` the
 *   sessions; and `ended`, which is called when the failure is that the connection has ended
 */
export function troubleSlot(offers = {}) {
  const element = h("div", { class: "trouble" });

  function clear() {
    element.replaceChildren();
  }

  function tell({ title, sentence, actions = [] }) {
    // The same failure again, as of a reading that is repeated, is not told again.
    if (element.dataset.told === sentence && element.hasChildNodes()) return;
    element.dataset.told = sentence;
    const words = h("div", {}, title ? h("strong", {}, title) : null, h("p", {}, sentence));
    if (actions.length > 0) words.append(h("div", { class: "trouble-actions" }, actions));
    element.replaceChildren(h("div", { class: "alert", role: "alert" }, icon("alert"), words));
    // A field that is marked as wrong stays in sight.
    if (!document.activeElement?.matches("[aria-invalid=true]")) element.scrollIntoView({ block: "nearest" });
  }

  /** Shows a failure. `again` repeats what failed, where that makes sense. */
  function report(error, again) {
    if (!(error instanceof Problem)) console.error(error);
    const problem = error instanceof Problem ? error : new Problem({ sentence: FAULT });
    element.dataset.code = problem.code;
    const offer = (text, run) => button({ class: "secondary small", onclick: () => (clear(), run()) }, text);
    const actions = {
      reconnect: offers.reconnect && [
        offer(problem.code === "zoom_not_connected" ? "Connect Zoom" : "Reconnect Zoom", offers.reconnect),
      ],
      reload: offers.reload && [offer("Look again", offers.reload)],
      retry: again && [offer("Try again", again)],
    };
    const fields = Object.entries(problem.fields).map(([name, reason]) => fieldInWords(name, reason));
    const reference = problem.status >= 500 && problem.requestId ? ` Reference: ${problem.requestId}` : "";
    const what = remedy(problem);
    if (what === "reconnect") offers.ended?.();
    tell({ sentence: [sayFields(problem.sentence), ...fields].join(" ") + reference, actions: actions[what] ?? [] });
  }

  /** Runs something behind a button of a sheet, holds the sheet meanwhile, and shows the failure if there is one. */
  async function around(sheet, pressed, label, run) {
    clear();
    if (sheet) sheet.held = true;
    try {
      await busy(pressed, label, run);
    } catch (error) {
      report(error, () => around(sheet, pressed, label, run));
    } finally {
      if (sheet) sheet.held = false;
    }
  }

  return { element, clear, tell, report, around };
}
