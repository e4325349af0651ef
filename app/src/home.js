/** The page of somebody who is signed in. */
import { contacts, realtime, sessions, signOut } from "./service.js";
import { announce, button, h, icon } from "./dom.js";
import { connectionCard } from "./connection.js";
import { finishCreation, openCreate } from "./create-sheet.js";
import { openDetails } from "./details-sheet.js";
import { openEdit } from "./edit-sheet.js";
import { copyLink, inviteLink } from "./invite.js";
import { settleArrival } from "./arrival.js";
import { openJoin } from "./join-sheet.js";
import { sessionTabs } from "./sessions.js";
import { confirmInSheet, openSheet } from "./sheet.js";
import { clock, dayName } from "./time.js";
import { troubleSlot } from "./trouble.js";

/** The Zoom connection is looked at this often while the page is; sessions are as soon as something happens. */
const POLL = 60_000;
/** A start that is earlier than this asks first. */
const EARLY = 30 * 60_000;

/**
 * Shows the page in `app`.
 *
 * @param arrival what the address brought along, as `readLink` gives it; or null
 * @returns what ends the page's work
 */
export async function showHome(app, person, arrival) {
  person.isHost = await sessions.mayHost();
  let connection;
  let known = [];
  const knowing = contacts().then((people) => (known = people.filter(({ user_id }) => user_id !== person.id)));

  const card = person.isHost
    ? connectionCard({ refresh: refreshConnection, createWithOwnLink: () => create(["external"]) })
    : null;
  const newSession = button(
    { class: "primary", "data-focus": "new", disabled: true, onclick: () => create(["zoom", "external"]) },
    icon("plus"),
    "New session",
  );
  const join = button(
    { class: person.isHost ? "secondary" : "primary", onclick: () => openJoin({ person, joined }) },
    icon("ticket"),
    "Join by code",
  );
  const remedies = { reload: refresh, reconnect: () => card?.connect(), ended: refreshConnection };
  const act = { start, details, copyInvite: (session) => copyLink(inviteLink(session)), remedies };
  const list = sessionTabs({ person, act, nameOf });

  app.replaceChildren(
    h(
      "header",
      { class: "top" },
      h("h1", {}, "Video sessions"),
      button(
        { class: "account", "data-focus": "account", "aria-label": `Account of ${person.name}`, onclick: account },
        initials(person.name),
      ),
    ),
    h(
      "main",
      { class: "home" },
      h(
        "div",
        { class: "side" },
        card?.element,
        h("div", { class: "big-actions" }, person.isHost ? newSession : null, join),
      ),
      list.element,
    ),
  );
  card?.update(undefined);
  list.draw();

  async function refreshConnection() {
    if (!card) return;
    try {
      connection = await sessions.zoomConnection();
      card.update(connection);
    } catch (error) {
      card.report(error);
    }
    newSession.disabled = connection?.state !== "connected";
  }

  /** On opening the page: makes tokens fresh before they are needed, and notices a connection that has ended. */
  async function keepAlive() {
    if (connection?.state !== "connected") return;
    const { state } = await sessions.refreshConnection().catch(() => connection);
    if (state !== "connected") await refreshConnection();
  }

  async function refresh() {
    await Promise.all([refreshConnection(), list.refresh()]);
  }

  async function create(providers) {
    await knowing;
    openCreate({
      person,
      guests: known,
      providers,
      refresh,
      reconnect: remedies.reconnect,
      ended: remedies.ended,
      created: () => {
        list.choose("upcoming");
        refresh();
      },
    });
  }

  function details(session) {
    openDetails({
      session,
      person,
      nameOf,
      refresh,
      edit: (edited) => openEdit({ session: edited, person, guests: known, refresh }),
    });
  }

  function nameOf(userId) {
    const found = known.find(({ user_id }) => user_id === userId);
    return found?.name ?? found?.email;
  }

  /** Asks before a session is opened long before its time: guests could come in now. */
  function start(session, pressed, trouble) {
    if (session.phase === "ongoing" || new Date(session.scheduled_start) - Date.now() < EARLY)
      return open(session, pressed, trouble);
    return confirmInSheet({
      title: "Open it now?",
      text: `This begins on ${dayName(session.scheduled_start)} at ${clock(session.scheduled_start)}.
        Opened now, it stays planned for then.`,
      keep: "Not now",
      act: "Open it now",
      tone: "primary",
      acting: "Starting…",
      run: () => open(session, pressed, trouble),
    });
  }

  /** Fetches the start URL and opens it. It is kept nowhere: not in the page, not in a variable that outlives this. */
  async function open(session, pressed, trouble) {
    // Opened in the tap itself, or else browsers block it; cut loose from this page before Zoom arrives in it.
    const tab = window.open("about:blank", "_blank");
    if (!tab) {
      trouble.tell({
        title: "The new tab was blocked",
        sentence: "Allow this page to open new tabs, then tap Start again.",
      });
      return;
    }
    tab.opener = null;
    tab.document.title = "Opening…";
    tab.document.body.textContent = "Opening the session…";
    let opened = false;
    await trouble.around(null, pressed, "Starting…", async () => {
      const url = await sessions.start(session.id);
      tab.location.replace(url);
      opened = true;
    });
    if (!opened) tab.close();
    else announce("The session opens in a new tab.", { visibly: true });
  }

  /** What came back from Zoom is not believed: this user confirms it, and then the connection is read. */
  async function comeBackFromZoom() {
    if (!card || !arrival || arrival.kind === "invite") return;
    settleArrival();
    if (arrival.kind === "refused") return card.returned(arrival.code);
    try {
      await sessions.confirmConnecting(arrival.handle ?? "");
    } catch (error) {
      return card.failed(error, comeBackFromZoom);
    }
    await refreshConnection();
    if (connection?.state === "connected") announce("Zoom is connected.", { visibly: true });
  }

  async function joined(session) {
    settleArrival();
    list.choose(session.phase);
    await list.refresh();
  }

  function account() {
    openSheet("Account", () => {
      const trouble = troubleSlot();
      const leave = (event) => trouble.around(null, event.currentTarget, "Signing out…", signOut);
      const role = person.isHost ? "Hosts sessions and takes part in them" : "Takes part in sessions";
      return [
        h(
          "p",
          {},
          h("strong", {}, person.name),
          [person.email, role].map((line) => h("span", { class: "soft block" }, line)),
        ),
        trouble.element,
        h("div", { class: "sheet-actions" }, button({ class: "secondary wide", onclick: leave }, "Sign out")),
      ];
    });
  }

  const end = new AbortController();
  // Back from Zoom, or from anywhere else: what is on the screen may be out of date. One return makes several events.
  let lastRead = Date.now();
  let reading;
  const comeBack = () => {
    if (document.visibilityState !== "visible") return;
    lastRead = Date.now();
    reading ??= refresh().finally(() => (reading = undefined));
  };
  const stopWatching = sessions.watch(happened, { realtime, isNear: list.isNear });
  end.signal.addEventListener("abort", stopWatching);
  document.addEventListener("visibilitychange", comeBack, { signal: end.signal });
  for (const event of ["focus", "online", "pageshow"]) window.addEventListener(event, comeBack, { signal: end.signal });
  const timer = setInterval(() => {
    list.tick();
    if (Date.now() - lastRead >= POLL) comeBack();
  }, 10_000);
  end.signal.addEventListener("abort", () => clearInterval(timer));

  if (arrival?.kind === "invite") openJoin({ code: arrival.shareCode, person, joined });

  void begin();
  return () => end.abort();

  /** What the other side did, or Zoom: read again, and said where it would go unnoticed. */
  function happened({ kind, details }) {
    if (kind === "connection_ended") void refreshConnection();
    else void list.refresh();
    if (details.by === person.id) return;
    const isMe = details.person_id === person.id;
    const news = NEWS[isMe ? `${kind} me` : kind]?.(details.title, nameOf(details.person_id) ?? "Somebody");
    if (news) announce(news, { visibly: true, politely: true });
  }

  async function begin() {
    await comeBackFromZoom();
    await refresh();
    void keepAlive();
    await knowing;
    list.draw();
    await finishBefore();
  }

  /** A session that was being created when the page was left. */
  async function finishBefore() {
    try {
      const session = await finishCreation(person);
      if (!session) return;
      await list.refresh();
      announce(`“${session.title}” is created.`, { visibly: true });
    } catch (error) {
      announce(`Your new session: ${error.sentence ?? error}`, { visibly: true });
    }
  }
}

/** What is said of what happened, by its kind. */
const NEWS = {
  "invited me": (title) => `You are invited to “${title}”.`,
  "removed me": (title) => `You no longer take part in “${title}”.`,
  joined: (title, person) => `${person} has joined “${title}”.`,
  left: (title, person) => `${person} has left “${title}”.`,
  moved: (title) => `“${title}” has a new time.`,
  cancelled: (title) => `“${title}” is cancelled.`,
  started: (title) => `“${title}” has begun.`,
  ended: (title) => `“${title}” has ended.`,
};

function initials(name) {
  const words = name.split(/[\s@._-]+/).filter(Boolean);
  return (words.length > 1 && !name.includes("@") ? words[0][0] + words[1][0] : name[0]).toUpperCase();
}
