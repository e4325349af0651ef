/** The little that stands in for a framework. Text goes in as text, never as HTML. */

/**
 * Makes an element: `h("button", { class: "primary", onclick: save }, "Save")`. Attributes that are false or null stay
 * away, children that are null or false too.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  const shown = (child) => child !== null && child !== undefined && child !== false;
  element.append(...children.flat(Infinity).filter(shown));
  return element;
}

/** Text for screen readers alone. */
export function hidden(text) {
  return h("span", { class: "hidden" }, text);
}

/**
 * Shows what `render` makes of `data`, and leaves the page alone as long as the data stay the same, so that a refresh
 * that brings nothing new moves nothing. Focus survives on the element with the same `data-focus`.
 */
export function show(container, data, render) {
  const signature = JSON.stringify(data);
  if (container.signature === signature) return;
  container.signature = signature;
  const focused = container.contains(document.activeElement) && document.activeElement.dataset.focus;
  container.replaceChildren(...[render(data)].flat(Infinity).filter(Boolean));
  if (focused) container.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

/**
 * Runs something that takes time behind a button: the button says so, takes no second tap, and asks for patience where
 * it takes long. Failures go to the caller.
 */
export async function busy(button, label, run) {
  const face = [...button.childNodes];
  const text = h("span", {}, label);
  button.setAttribute("aria-disabled", "true");
  button.classList.add("busy");
  button.replaceChildren(h("span", { class: "spinner", "aria-hidden": "true" }), text);
  announce(label);
  const patience = setTimeout(() => {
    text.textContent = "Still working…";
    announce("Still working. This takes longer than usual.");
  }, 6_000);
  try {
    return await run();
  } finally {
    clearTimeout(patience);
    button.removeAttribute("aria-disabled");
    button.classList.remove("busy");
    button.replaceChildren(...face);
  }
}

/** A button. While it is busy, taps do nothing; it keeps the focus meanwhile, which `disabled` would throw away. */
export function button(attributes, ...face) {
  const { onclick, ...rest } = attributes;
  const guarded = (event) => event.currentTarget.getAttribute("aria-disabled") !== "true" && onclick?.(event);
  return h("button", { type: "button", ...rest, onclick: guarded }, ...face);
}

/** A row of a list of facts (`dl`); `more` is said of the value below it. */
export function fact(name, value, more) {
  return [h("dt", {}, name), h("dd", {}, value, more ? h("span", { class: "soft" }, more) : null)];
}

let fading;
/** Until then what is shown is not for others to replace. */
let shownUntil = 0;

/**
 * Says something in passing: read out, and where it counts also seen at the bottom of the page for a while. `politely`
 * waits until what is seen there has been.
 */
export function announce(text, { visibly = false, politely = false } = {}) {
  const wait = politely ? shownUntil - Date.now() : 0;
  if (wait > 0) return void setTimeout(() => announce(text, { visibly, politely }), wait);
  shownUntil = Date.now() + (visibly ? 3_000 : 0);
  const announcer = document.getElementById("announcer");
  // What lies under an open sheet is neither seen nor read out.
  const place = document.querySelector("dialog[open]") ?? document.body;
  if (announcer.parentElement !== place) place.append(announcer);
  clearTimeout(fading);
  announcer.classList.toggle("visible", visibly);
  announcer.textContent = text;
  fading = setTimeout(() => announcer.classList.remove("visible"), 6_000);
}

const PATHS = {
  video:
    "M4 7.5A2.5 2.5 0 0 1 6.5 5h6A2.5 2.5 0 0 1 15 7.5v9a2.5 2.5 0 0 1-2.5 2.5h-6A2.5 2.5 0 0 1 4 16.5zM15 11l5-3v8l-5-3",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  check: "M5 12.5l4.5 4.5L19 7.5",
  alert: "M12 8v5M12 16.5h.01M12 3.5l9.5 16.5h-19z",
  calendar:
    "M4 7.5A2.5 2.5 0 0 1 6.5 5h11A2.5 2.5 0 0 1 20 7.5v9a2.5 2.5 0 0 1-2.5 2.5h-11A2.5 2.5 0 0 1 4 16.5zM4 10h16M8 3v4M16 3v4",
  history: "M4 12a8 8 0 1 0 2.5-5.8L4 8.5M4 4v4.5h4.5M12 8v4.5l3 2",
  ticket: "M4 7h16v3.5a1.5 1.5 0 0 0 0 3V17H4v-3.5a1.5 1.5 0 0 0 0-3zM14.5 7v10",
};

/** A drawing beside a text, which it adds nothing to. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
