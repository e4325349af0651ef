/** The form that sessions are created and edited with. */
import { h } from "./dom.js";
import { fromInputs, isSkipped, toInputs, ZONE } from "./time.js";
import { fieldInWords } from "./words.js";

const LENGTHS = [30, 45, 60];
const SIZES = [2, 3, 4, 5];

/**
 * @param session what the form begins with, as the database has it
 * @param guests people to pick from, `[{user_id, name, email}]`
 * @param picked ids of those who are picked already
 * @param providers which of "zoom" and "external" can be chosen; none of them where there is nothing to choose
 */
export function sessionForm({ session, guests = [], picked = [], providers = [] }) {
  const start = toInputs(session.scheduled_start);
  const fields = {};

  /** A labelled control with a place for what is wrong with it. */
  function field(name, label, control, { hint, group = false } = {}) {
    const trouble = h("p", { class: "field-trouble", id: `${name}-trouble` });
    const hintLine = hint ? h("p", { class: "hint", id: `${name}-hint` }, hint) : null;
    const parts = [hintLine, trouble]
      .filter(Boolean)
      .map(({ id }) => id)
      .join(" ");
    const element = group
      ? h("fieldset", { class: "field", "aria-describedby": parts }, h("legend", {}, label), control, hintLine, trouble)
      : h("div", { class: "field" }, h("label", { for: name }, label), control, hintLine, trouble);
    if (!group) control.setAttribute("aria-describedby", parts);
    fields[name] = { element, trouble, control: group ? control.querySelector("input") : control };
    return element;
  }

  const title = h("input", {
    id: "title",
    type: "text",
    maxlength: "200",
    autocomplete: "off",
    placeholder: "Weekly check-in",
    value: session.title ?? "",
  });
  const date = h("input", { id: "date", type: "date", value: start.date, "aria-label": "Date" });
  const time = h("input", { id: "time", type: "time", value: start.time, step: "300", "aria-label": "Time" });
  // One that was moved in Zoom can have any length.
  const lengths = [...new Set([...LENGTHS, session.duration_minutes ?? 30])];
  const length = choices(
    "duration_minutes",
    lengths.map((minutes) => [minutes, `${minutes} min`]),
    session.duration_minutes ?? 30,
  );
  const size = choices(
    "max_participants",
    SIZES.map((count) => [count, String(count)]),
    session.max_participants ?? 2,
  );
  const notes = h("textarea", { id: "description", rows: "3", maxlength: "2000" }, session.description ?? "");
  const where = choices(
    "provider",
    providers.map((provider) => [provider, { zoom: "Zoom", external: "My own link" }[provider]]),
    providers[0],
  );
  const link = h("input", {
    id: "join_url",
    type: "text",
    inputmode: "url",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    placeholder: "https://",
    value: session.provider === "external" ? session.join_url : "",
  });
  const picker = guestPicker(guests, picked, () => Number(size.value()));

  const linkPart = field("join_url", "Link", link, {
    hint: "Where you meet, such as a room of yours in another service.",
  });
  const element = h(
    "div",
    { class: "fields" },
    field("title", "Title", title),
    field("scheduled_start", "Start", h("div", { class: "pair" }, date, time), {
      group: true,
      hint: `In your time zone, ${ZONE}`,
    }),
    field("duration_minutes", "Length", length.element, { group: true }),
    field("max_participants", "People, you included", size.element, { group: true }),
    guests.length > 0 ? field("participant_ids", "Invite", picker.element, { group: true }) : null,
    providers.length > 1 ? field("provider", "Where", where.element, { group: true }) : null,
    providers.length > 0 ? linkPart : null,
    field("description", "Notes (optional)", notes),
  );

  function follow() {
    linkPart.hidden = where.value() !== "external";
    picker.follow();
  }
  element.addEventListener("change", follow);
  // Whoever corrects a field need not be told any longer.
  element.addEventListener("input", ({ target }) => {
    for (const [name, { element: place }] of Object.entries(fields)) if (place.contains(target)) clear(name);
  });
  follow();

  /** What is in the form, in the back end's words. */
  function read() {
    const values = {
      title: title.value.trim(),
      scheduled_start:
        date.value === start.date && time.value === start.time
          ? session.scheduled_start
          : fromInputs(date.value, time.value),
      duration_minutes: Number(length.value()),
      max_participants: Number(size.value()),
      description: notes.value.trim(),
    };
    if (providers.length > 0) values.provider = where.value();
    if (values.provider === "external") values.join_url = completed(link.value.trim());
    return { values, picked: picker.picked() };
  }

  /** What can be told without asking anybody. */
  function problems({ values }) {
    const found = {};
    if (!values.title) found.title = "must not be empty";
    if (isSkipped(date.value, time.value)) found.scheduled_start = "does not exist on that day: the clocks go forward";
    else if (!values.scheduled_start) found.scheduled_start = "needs a date and a time";
    else if (values.scheduled_start !== session.scheduled_start && new Date(values.scheduled_start) < Date.now())
      found.scheduled_start = "must not be in the past";
    if (values.provider === "external" && !/^https:\/\/[^\s/@]+\.[^\s/@]+(\/\S*)?$/.test(values.join_url))
      found.join_url = "must be a link, such as https://meet.google.com/abc";
    return found;
  }

  /** Shows at each field what is wrong with it, and goes to the first. Gives whether all of them have a place here. */
  function mark(found) {
    for (const [name, { trouble, control }] of Object.entries(fields)) {
      clear(name);
      if (!found[name]) continue;
      trouble.textContent = fieldInWords(name, found[name]);
      control.setAttribute("aria-invalid", "true");
    }
    const first = Object.keys(fields).find((name) => found[name]);
    fields[first]?.control.focus();
    return Object.keys(found).every((name) => fields[name]);
  }

  function clear(name) {
    fields[name].trouble.textContent = "";
    fields[name].control.removeAttribute("aria-invalid");
  }

  const untouched = JSON.stringify(read());
  return { element, read, problems, mark, isTouched: () => JSON.stringify(read()) !== untouched };
}

/** A link as people type it, completed. */
function completed(link) {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(link) || !link ? link : `https://${link}`;
}

/** A few values side by side, one of them chosen. */
function choices(name, options, chosen) {
  const inputs = options.map(([value]) => h("input", { type: "radio", name, value, checked: value === chosen }));
  const labels = options.map(([, label], index) => h("label", {}, inputs[index], h("span", {}, label)));
  return {
    element: h("div", { class: "choices" }, labels),
    value: () => inputs.find((input) => input.checked)?.value,
  };
}

/** People to tick, no more than there are seats. */
function guestPicker(guests, picked, size) {
  const inputs = guests.map(({ user_id }) =>
    h("input", { type: "checkbox", value: user_id, checked: picked.includes(user_id) }),
  );
  const seats = h("p", { class: "hint", "aria-live": "polite" });
  const rows = guests.map(({ name, email }, index) =>
    h(
      "label",
      { class: "guest" },
      inputs[index],
      h("span", {}, name ?? email, name && email ? h("span", { class: "soft" }, email) : null),
    ),
  );
  const ticked = () => inputs.filter((input) => input.checked);
  const search = h("input", {
    type: "search",
    placeholder: "Search people",
    "aria-label": "Search people",
    oninput: () => {
      const wanted = search.value.trim().toLowerCase();
      rows.forEach((row) => (row.hidden = !row.textContent.toLowerCase().includes(wanted)));
    },
  });
  return {
    element: h("div", {}, guests.length > 6 ? search : null, h("div", { class: "guests" }, rows), seats),
    picked: () => ticked().map((input) => input.value),
    follow() {
      const [taken, most] = [ticked().length, size() - 1];
      for (const input of inputs) input.disabled = !input.checked && taken >= most;
      const left = most - taken;
      seats.textContent =
        left > 0
          ? `${left} of ${most} ${most === 1 ? "seat" : "seats"} free`
          : left === 0
            ? "All seats are taken."
            : "More people than seats: untick some, or allow more people.";
    },
  };
}
