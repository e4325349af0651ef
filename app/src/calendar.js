/** A session in somebody's own calendar: a file for any calendar, links for the two on the web that most people use. */
import { createEvent } from "ics";
import { button, h, icon } from "./dom.js";
import { Problem } from "./service.js";

const end = ({ scheduled_start, duration_minutes }) =>
  new Date(new Date(scheduled_start).getTime() + duration_minutes * 60_000);

/** Where the entry leads: to this page, which knows how the session stands. */
const page = () => new URL("./", document.baseURI).href;

const notes = ({ description }) => [description, `Start or join here: ${page()}`].filter(Boolean).join("\n\n");

/** The file. The same session always has the same UID; a later state of it has a higher sequence. */
export function calendarFile(session) {
  const start = new Date(session.scheduled_start);
  const { error, value } = createEvent({
    uid: `${session.id}@video-sessions`,
    sequence: Math.floor(Date.now() / 1000) - 1_700_000_000,
    productId: "video-sessions",
    title: session.title,
    description: notes(session),
    url: page(),
    location: session.provider === "zoom" ? "Zoom" : session.join_url,
    start: start.getTime(),
    startInputType: "utc",
    startOutputType: "utc",
    duration: { minutes: session.duration_minutes },
    status: session.status === "cancelled" ? "CANCELLED" : "CONFIRMED",
    alarms: [{ action: "display", description: session.title, trigger: { minutes: 10, before: true } }],
  });
  if (error) throw new Problem({ code: "calendar", sentence: "The calendar entry could not be made." });
  return value;
}

const compact = (date) => date.toISOString().replace(/[-:]|\.\d{3}/g, "");

function googleLink(session) {
  const link = new URL("https://calendar.google.com/calendar/render");
  link.search = new URLSearchParams({
    action: "TEMPLATE",
    text: session.title,
    dates: `${compact(new Date(session.scheduled_start))}/${compact(end(session))}`,
    ctz: session.timezone,
    details: notes(session),
  });
  return link.href;
}

function outlookLink(session) {
  const link = new URL("https://outlook.office.com/calendar/0/deeplink/compose");
  link.search = new URLSearchParams({
    path: "/calendar/action/compose",
    rru: "addevent",
    subject: session.title,
    startdt: new Date(session.scheduled_start).toISOString(),
    enddt: end(session).toISOString(),
    body: notes(session),
  });
  return link.href;
}

/** "Add to calendar", in three ways. */
export function calendarActions(session) {
  const save = () => {
    const file = URL.createObjectURL(new Blob([calendarFile(session)], { type: "text/calendar" }));
    h("a", { href: file, download: "session.ics" }).click();
    setTimeout(() => URL.revokeObjectURL(file), 60_000);
  };
  const away = (href, name) =>
    h("a", { class: "button quiet small", href, target: "_blank", rel: "noopener noreferrer" }, name);
  return h(
    "div",
    { class: "calendar", role: "group", "aria-label": "Add to calendar" },
    button({ class: "secondary small", onclick: save }, icon("calendar"), "Add to calendar"),
    away(googleLink(session), "Google"),
    away(outlookLink(session), "Outlook"),
  );
}
