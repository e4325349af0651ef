/** The page of somebody who is signed in. */
import { contacts, listSessions, mayHost, refreshToken, signOut, startSession, zoomConnection } from "./api.js";
import { announce, button, h, icon } from "./dom.js";
import { connectionCard } from "./connection.js";
import { openCreate } from "./create-sheet.js";
import { openDetails } from "./details-sheet.js";
import { openEdit } from "./edit-sheet.js";
import { copyLink, inviteLink } from "./invite.js";
import { openJoin } from "./join-sheet.js";
import { phaseOf } from "./phase.js";
import { sessionTabs } from "./sessions.js";
import { openSheet } from "./sheet.js";
import { troubleSlot } from "./trouble.js";

/** While the page is looked at, it is read again this often: sessions begin and end in Zoom. */
const POLL = 30_000;

/**
 * Shows the page in `app`.
 *
 * @param arrival what the address brought along: `{code}` of an invite, `{returned}` from Zoom
 * @returns what ends the page's work
 */
export async function showHome(app, person, arrival) {
  person.isHost = await mayHost(person);
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
    { class: person.isHost ? "secondary" : "primary", onclick: () => openJoin({ joined }) },
    icon("ticket"),
    "Join by code",
  );
  const remedies = { reload: refresh, reconnect: () => card?.connect(), ended: refreshConnection };
  const act = { start, details, copyInvite: (session) => copyLink(inviteLink(session)), remedies };
  const list = sessionTabs({ person, act, nameOf, refresh: refreshSessions });

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
      connection = await zoomConnection();
      card.update(connection);
    } catch (error) {
      card.report(error);
    }
    newSession.disabled = connection?.state !== "connected";
  }

  /** On opening the page: makes tokens fresh before they are needed, and notices a connection that has ended. */
  async function keepAlive() {
    if (connection?.state !== "connected") return;
    const { state } = await refreshToken().catch(() => connection);
    if (state !== "connected") await refreshConnection();
  }

  async function refreshSessions() {
    try {
      list.update(await listSessions());
    } catch (error) {
      list.report(error);
    }
  }

  async function refresh() {
    await Promise.all([refreshConnection(), refreshSessions()]);
  }

  async function create(providers) {
    await knowing;
    openCreate({
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

  /** Fetches the start URL and opens it. It is kept nowhere: not in the page, not in a variable that outlives this. */
  async function start(session, pressed, trouble) {
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
      const url = await startSession(session.id);
      tab.location.replace(url);
      opened = true;
    });
    if (!opened) tab.close();
    else announce("The session opens in a new tab.", { visibly: true });
  }

  async function joined(session) {
    list.choose(phaseOf(session));
    await refreshSessions();
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
  document.addEventListener("visibilitychange", comeBack, { signal: end.signal });
  for (const event of ["focus", "online", "pageshow"]) window.addEventListener(event, comeBack, { signal: end.signal });
  const timer = setInterval(() => {
    list.tick();
    if (Date.now() - lastRead >= POLL) comeBack();
  }, 10_000);
  end.signal.addEventListener("abort", () => clearInterval(timer));

  if (card && arrival.returned) {
    if (arrival.returned === "success") announce("Zoom is connected.", { visibly: true });
    else card.returned(arrival.returned);
  }
  if (arrival.code) openJoin({ code: arrival.code, joined });

  void begin();
  return () => end.abort();

  async function begin() {
    await refresh();
    void keepAlive();
    await knowing;
    list.draw();
  }
}

function initials(name) {
  const words = name.split(/[\s@._-]+/).filter(Boolean);
  return (words.length > 1 && !name.includes("@") ? words[0][0] + words[1][0] : name[0]).toUpperCase();
}
