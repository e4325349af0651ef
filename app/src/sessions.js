/** The sessions, in tabs: what is on, what is planned, the links to pass on, and what is past. Read page by page. */
import { button, h, icon, show } from "./dom.js";
import { inviteLink, linkField, readable } from "./invite.js";
import { sessions as service } from "./service.js";
import { sessionCard, joinable } from "./session-card.js";
import { clock, dayName, shortDay } from "./time.js";
import { troubleSlot } from "./trouble.js";
import { waitingInWords } from "./words.js";

const PAGE = 20;
/** The most that the database gives at once. */
const LARGEST_PAGE = 100;

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
 */
export function sessionTabs({ person, act, nameOf }) {
  /** What has been read of each phase: `{rows, more}`, where `more` says that there are further pages. */
  const read = {};
  const scrolled = {};
  /** What Zoom has not confirmed, by session. */
  let waiting = new Map();
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
  const confirming = h("div", { class: "confirming" });
  const further = h("div", { class: "further" });
  // The next page is read before its end is in sight; the button is for those who do not scroll.
  const nearEnd = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && readFurther(), {
    rootMargin: "600px",
  });
  const element = h(
    "section",
    { class: "sessions", "aria-label": "Sessions" },
    h("div", { class: "tabs", role: "tablist", "aria-label": "Sessions" }, tabs),
    trouble.element,
    confirming,
    panel,
    further,
  );

  /** Reads a phase as far as it is shown already, a page at least. */
  async function readPhase(phase) {
    const wanted = Math.max(PAGE, read[phase]?.rows.length ?? 0);
    let rows = [];
    let more = true;
    while (more && rows.length < wanted) {
      const pageSize = Math.min(LARGEST_PAGE, wanted - rows.length);
      const page = await service.list(phase, { pageSize, after: rows.at(-1) });
      rows = rows.concat(page);
      more = page.length === pageSize;
    }
    read[phase] = { rows, more };
  }

  let running;
  let again;
  /** Reads again what is shown. A call during a reading makes it read once more. */
  function refresh() {
    again = true;
    running ??= readAll().finally(() => (running = undefined));
    return running;
  }

  async function readAll() {
    while (again) {
      again = false;
      const phases = ["ongoing", "upcoming", ...(read.past || chosen === "past" ? ["past"] : [])];
      try {
        await Promise.all([...phases.map(readPhase), person.isHost && readWaiting()]);
        failed = false;
        trouble.clear();
        chosen ??= read.ongoing.rows.length > 0 ? "ongoing" : "upcoming";
        draw();
      } catch (error) {
        report(error);
      }
    }
  }

  function report(error) {
    failed = true;
    trouble.report(error, refresh);
    draw();
  }

  async function readWaiting() {
    waiting = new Map((await service.waiting()).map((change) => [change.session_id, change]));
  }

  let readingFurther = false;
  async function readFurther() {
    const phase = phaseOfTab();
    const known = read[phase];
    if (!known?.more || readingFurther) return;
    readingFurther = true;
    try {
      const page = await service.list(phase, { pageSize: PAGE, after: known.rows.at(-1) });
      // A refresh may have come in between.
      if (read[phase] === known) read[phase] = { rows: [...known.rows, ...page], more: page.length === PAGE };
      draw();
    } catch (error) {
      trouble.report(error, readFurther);
    } finally {
      readingFurther = false;
    }
  }

  const phaseOfTab = () => (current() === "links" ? "upcoming" : current());
  const current = () => chosen ?? "upcoming";

  function choose(key) {
    scrolled[current()] = window.scrollY;
    chosen = key;
    draw();
    window.scrollTo(0, scrolled[key] ?? 0);
    if (key === "past" && !read.past) readPhase("past").then(draw, report);
  }

  /** Arrow keys walk along the tabs, Home and End to the first and the last, as in every tab list. */
  function moveAlong(event) {
    const at = tabs.indexOf(event.currentTarget);
    const next = {
      ArrowRight: tabs[(at + 1) % tabs.length],
      ArrowLeft: tabs.at(at - 1),
      Home: tabs[0],
      End: tabs.at(-1),
    }[event.key];
    if (!next) return;
    event.preventDefault();
    choose(next.dataset.tab);
    next.focus();
  }

  function inTab(key) {
    if (key !== "links") return read[key]?.rows;
    const rows = read.upcoming && [...read.ongoing.rows, ...read.upcoming.rows];
    return rows?.filter(joinable);
  }

  /** Draws, and leaves the focus on the button it was on, even if that is drawn anew. */
  function draw() {
    const focused = panel.contains(document.activeElement) && document.activeElement.dataset.focus;
    drawNow(new Date());
    if (focused && !panel.contains(document.activeElement))
      panel.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  function drawNow(now) {
    const key = current();
    for (const tab of tabs) {
      const isCurrent = tab.dataset.tab === key;
      tab.setAttribute("aria-selected", String(isCurrent));
      tab.tabIndex = isCurrent ? 0 : -1;
      const isCounted = ["ongoing", "upcoming"].includes(tab.dataset.tab);
      const { rows, more } = (isCounted && read[tab.dataset.tab]) || { rows: [] };
      tab.querySelector(".count").textContent = rows.length ? `${rows.length}${more ? "+" : ""}` : "";
    }
    panel.setAttribute("aria-labelledby", `tab-${key}`);
    const found = inTab(key);
    panel.setAttribute("aria-busy", String(!found && !failed));
    if (panel.dataset.tab !== key) panel.signature = undefined;
    panel.dataset.tab = key;
    drawFurther(found);
    if (!found) show(panel, { failed }, () => (failed ? [] : skeleton()));
    else if (found.length === 0) show(panel, { empty: key }, () => emptyState(key));
    else if (key === "links") show(panel, found, () => h("ul", { class: "list" }, found.map(linkItem)));
    else showDays(panel, found, now);
    show(confirming, key === "upcoming" ? [...waiting.values()].filter(({ kind }) => kind === "create") : [], (open) =>
      open.map((creation) => h("p", { class: "note", role: "status" }, waitingInWords(creation))),
    );
  }

  function drawFurther(found) {
    const hasMore = Boolean(found && read[phaseOfTab()]?.more);
    show(further, { hasMore }, () =>
      hasMore ? button({ class: "secondary wide", "data-focus": "further", onclick: readFurther }, "Show more") : [],
    );
    nearEnd.unobserve(further);
    if (hasMore) nearEnd.observe(further);
  }

  /** Days with their sessions. What is the same as before stays as it is, and so does what a person is looking at. */
  function showDays(container, found, now) {
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
    const places = new Map(
      Array.from(container.querySelectorAll("[data-session]"), (item) => [item.dataset.session, item]),
    );
    for (const session of found)
      sessionCard(places.get(session.id), {
        session,
        person,
        hostName: nameOf(session.host_id),
        waiting: waiting.get(session.id),
        act,
        now,
      });
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
      own ? h("p", { class: "soft" }, `Code ${readable(session.invite.share_code)}`) : null,
      own ? linkField(inviteLink(session), session.title) : linkField(session.join_url, session.title, "Link to join"),
    );
  }

  return {
    element,
    refresh,
    /** Redraws what depends on the time of day. */
    tick() {
      if (waiting.size > 0) readWaiting().then(draw, report);
      else if (read.upcoming) draw();
    },
    draw,
    choose,
    /** Whether Zoom has to confirm something, a session is on, or one begins within a quarter of an hour. */
    isNear: () =>
      waiting.size > 0 ||
      Boolean(read.ongoing?.rows.length) ||
      (read.upcoming?.rows ?? []).some(({ scheduled_start }) => new Date(scheduled_start) - Date.now() < 15 * 60_000),
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
