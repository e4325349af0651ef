/** The sessions, in tabs: what is on, what is planned, the links to pass on, and what is past. */
import { button, h, icon, show } from "./dom.js";
import { inviteLink, linkField, readable } from "./invite.js";
import { phaseOf } from "./phase.js";
import { sessionCard, joinable } from "./session-card.js";
import { clock, dayName, shortDay } from "./time.js";
import { troubleSlot } from "./trouble.js";

const TABS = {
  ongoing: {
    name: "Ongoing",
    picture: "video",
    empty: "Nothing is on right now",
    hint: "A session appears here once it has begun.",
  },
  upcoming: { name: "Upcoming", picture: "calendar", empty: "No sessions planned" },
  links: {
    name: "Links",
    picture: "link",
    empty: "No links yet",
    hint: "The links of your planned sessions appear here.",
  },
  past: {
    name: "Past",
    picture: "history",
    empty: "Nothing here yet",
    hint: "Sessions that are over or cancelled are kept here.",
  },
};

/**
 * @param person whose sessions they are
 * @param act what can be done with a session, by name
 * @param nameOf the name of a user, where it is known
 * @param refresh reads them again
 */
export function sessionTabs({ person, act, nameOf, refresh }) {
  let sessions;
  let chosen;
  let failed = false;
  const trouble = troubleSlot({ reload: refresh });
  const tabs = Object.entries(TABS).map(([key, { name }]) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${key}`,
        "aria-controls": "tab-panel",
        "data-tab": key,
        onclick: () => choose(key),
        onkeydown: moveAlong,
      },
      name,
      h("span", { class: "count" }),
    ),
  );
  const panel = h("div", { id: "tab-panel", role: "tabpanel" });
  const element = h(
    "section",
    { class: "sessions", "aria-label": "Sessions" },
    h("div", { class: "tabs", role: "tablist", "aria-label": "Sessions" }, tabs),
    trouble.element,
    panel,
  );

  function choose(key) {
    chosen = key;
    draw();
  }

  /** Arrow keys walk along the tabs, as in every tab list. */
  function moveAlong(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(event.currentTarget) + step + tabs.length) % tabs.length];
    choose(next.dataset.tab);
    next.focus();
  }

  function inTab(key, now) {
    if (key === "links") return sessions.filter((session) => joinable(session) && phaseOf(session, now) !== "past");
    const found = sessions.filter((session) => phaseOf(session, now) === key);
    return key === "past" ? found.reverse() : found;
  }

  /** Draws, and leaves the focus on the button it was on, even if that is drawn anew. */
  function draw() {
    const focused = panel.contains(document.activeElement) && document.activeElement.dataset.focus;
    drawNow(new Date());
    if (focused && !panel.contains(document.activeElement))
      panel.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  function drawNow(now) {
    const current = chosen ?? "upcoming";
    for (const tab of tabs) {
      const isCurrent = tab.dataset.tab === current;
      tab.setAttribute("aria-selected", String(isCurrent));
      tab.tabIndex = isCurrent ? 0 : -1;
      const counted =
        sessions && ["ongoing", "upcoming"].includes(tab.dataset.tab) ? inTab(tab.dataset.tab, now).length : 0;
      tab.querySelector(".count").textContent = counted || "";
    }
    panel.setAttribute("aria-labelledby", `tab-${current}`);
    panel.setAttribute("aria-busy", String(!sessions && !failed));
    if (panel.dataset.tab !== current) panel.signature = undefined;
    panel.dataset.tab = current;
    if (!sessions) {
      show(panel, { failed }, () => (failed ? [] : skeleton()));
      return;
    }
    const found = inTab(current, now);
    if (found.length === 0) show(panel, { empty: current }, () => emptyState(current));
    else if (current === "links") show(panel, found, () => h("ul", { class: "list" }, found.map(linkItem)));
    else showDays(panel, found, current, now);
  }

  /** Days with their sessions. What is the same as before stays as it is, and so does what a person is looking at. */
  function showDays(container, found, current, now) {
    const outline = [...groupByDay(found, now)].map(([day, those]) => [day, those.map(({ id }) => id)]);
    show(container, outline, () =>
      outline.map(([day, ids]) => [
        h("h2", { class: "day" }, day),
        h(
          "ul",
          { class: "list" },
          ids.map((id) => h("li", { class: "card session", "data-session": id })),
        ),
      ]),
    );
    for (const session of found) {
      const item = container.querySelector(`[data-session="${session.id}"]`);
      sessionCard(item, { session, person, phase: phaseOf(session, now), hostName: nameOf(session.host_id), act, now });
    }
  }

  function emptyState(key) {
    const { picture, empty, hint } = TABS[key];
    const upcomingHint = person.isHost
      ? "Create a session, and it appears here."
      : "When somebody invites you, the session appears here. You have a code? Join by it.";
    return h(
      "div",
      { class: "empty" },
      h("div", { class: "badge neutral" }, icon(picture)),
      h("h2", {}, empty),
      h("p", { class: "soft" }, hint ?? upcomingHint),
    );
  }

  /** Hosts pass the invite link on; participants may want their way in on another device. */
  function linkItem(session) {
    const own = session.host_id === person.id;
    return h(
      "li",
      { class: "card link" },
      h("h3", {}, session.title),
      h("p", { class: "soft" }, `${shortDay(session.scheduled_start)}, ${clock(session.scheduled_start)}`),
      own ? h("p", { class: "soft" }, `Code ${readable(session.share_code)}`) : null,
      own ? linkField(inviteLink(session), session.title) : linkField(session.join_url, session.title, "Link to join"),
    );
  }

  return {
    element,
    /** Shows sessions as the database gives them. */
    update(found) {
      sessions = found;
      trouble.clear();
      chosen ??= found.some((session) => phaseOf(session) === "ongoing") ? "ongoing" : "upcoming";
      draw();
    },
    /** Redraws what depends on the time of day. */
    tick: () => sessions && draw(),
    draw,
    choose,
    /** Says that sessions could not be read. What was read before stays. */
    report(error) {
      failed = true;
      trouble.report(error, refresh);
      draw();
    },
  };
}

function groupByDay(sessions, now) {
  const days = new Map();
  for (const session of sessions) {
    const day = dayName(session.scheduled_start, now);
    days.set(day, [...(days.get(day) ?? []), session]);
  }
  return days;
}

function skeleton() {
  const row = () => h("div", { class: "card skeleton" }, h("i", { class: "round" }), h("i", { class: "lines" }));
  return h("div", { class: "list", "aria-hidden": "true" }, row(), row());
}
