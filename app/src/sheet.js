/** Sheets: dialogs that come up from the lower edge of a phone, and stand in the middle of a larger screen. */
import { announce, button, h, icon } from "./dom.js";
import { troubleSlot } from "./trouble.js";

/** The sheets that are open. */
const open = new Set();
let opened = 0;
// Going back in the browser, or closing the tab, asks before something typed in is lost.
addEventListener("beforeunload", (event) => {
  if ([...open].some((sheet) => sheet.isTouched())) event.preventDefault();
});

/**
 * Opens a sheet. The browser keeps the focus inside, closes on Escape, and gives the focus back afterwards.
 *
 * @param fill gets the sheet and returns its content
 * @param precious whether a tap beside the sheet must not close it, since something may have been typed in
 */
export function openSheet(title, fill, { precious = false } = {}) {
  const opener = document.activeElement?.dataset.focus;
  const heading = h("h2", { id: `sheet-title-${++opened}`, tabindex: "-1", autofocus: true }, title);
  const close = button(
    { class: "quiet icon-only", "aria-label": "Close", onclick: () => sheet.dismiss() },
    icon("close"),
  );
  const body = h("div", { class: "sheet-body" });
  const dialog = h(
    "dialog",
    { class: "sheet", "aria-labelledby": heading.id },
    h("div", { class: "sheet-frame" }, h("div", { class: "sheet-head" }, heading, close), body),
  );
  const sheet = {
    body,
    /** While something runs that cannot be called back, the sheet stays. */
    held: false,
    /** Whether something was typed in that would be lost. */
    isTouched: () => false,
    close() {
      if (!sheet.held) dialog.close();
    },
    /** Closes, but asks first where something would be lost. */
    dismiss() {
      if (sheet.held) return;
      if (!sheet.isTouched()) dialog.close();
      else
        confirmInSheet({
          title: "Discard what you entered?",
          text: "Nothing of it has been saved.",
          keep: "Keep editing",
          act: "Discard",
          acting: "Discarding…",
          run: async () => dialog.close(),
        });
    },
    /** Goes on to another content, as after a success. */
    replace(newTitle, content) {
      heading.textContent = newTitle;
      body.replaceChildren(...content);
      heading.focus();
    },
  };
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    sheet.dismiss();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && !precious && sheet.close());
  dialog.addEventListener("close", () => {
    open.delete(sheet);
    const announcer = document.getElementById("announcer");
    if (dialog.contains(announcer)) document.body.append(announcer);
    dialog.remove();
    // The button that opened the sheet may have been drawn anew meanwhile.
    if (opener && document.activeElement === document.body)
      document.querySelector(`[data-focus="${CSS.escape(opener)}"]`)?.focus();
  });
  body.append(...[fill(sheet)].flat(Infinity).filter(Boolean));
  document.body.append(dialog);
  dialog.showModal();
  open.add(sheet);
  return sheet;
}

/** Asks before something that cannot be undone, does it, and says that it is done or, in the sheet, why it is not. */
export function confirmInSheet({ title, text, keep, act, acting, run, done, tone = "danger" }) {
  openSheet(title, (sheet) => {
    const trouble = troubleSlot();
    const doIt = button(
      {
        class: tone,
        onclick: (event) =>
          trouble.around(sheet, event.currentTarget, acting, async () => {
            await run();
            sheet.held = false;
            sheet.close();
            if (done) announce(done, { visibly: true });
          }),
      },
      act,
    );
    return [
      h("p", {}, text),
      trouble.element,
      h("div", { class: "sheet-actions" }, button({ class: "secondary", onclick: () => sheet.close() }, keep), doIt),
    ];
  });
}
