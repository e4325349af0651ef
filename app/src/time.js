/** Times as the person at this screen lives them. The back end knows instants only. */

const HOUR = 3_600_000;

/** The person's own zone, by its IANA name. */
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

// The page is in English, so are its dates, in the variety that the person prefers.
const LOCALE = navigator.languages?.find((language) => language.startsWith("en")) ?? "en-GB";
const format = (options) => new Intl.DateTimeFormat(LOCALE, options);
const CLOCK = format({ hour: "numeric", minute: "2-digit" });
const DAY = format({ weekday: "long", day: "numeric", month: "long" });
const DAY_AND_YEAR = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const SHORT_DAY = format({ weekday: "short", day: "numeric", month: "short" });
const DISTANCE = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" });

export const clock = (instant) => CLOCK.format(new Date(instant));
export const shortDay = (instant) => SHORT_DAY.format(new Date(instant));

/** "Today", "Tomorrow", "Thursday 27 November", with the year where it is another one. */
export function dayName(instant, now = new Date()) {
  const date = new Date(instant);
  const days = Math.round((midnight(date) - midnight(now)) / (24 * HOUR));
  if (days >= -1 && days <= 1) {
    const name = DISTANCE.format(days, "day");
    return name.charAt(0).toUpperCase() + name.slice(1);
  }
  return (date.getFullYear() === now.getFullYear() ? DAY : DAY_AND_YEAR).format(date);
}

/** When a session is planned, and for how long. */
export function planInWords({ scheduled_start, duration_minutes }) {
  return `${dayName(scheduled_start)}, ${clock(scheduled_start)}, ${duration_minutes} minutes`;
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** "in 25 minutes", "10 minutes ago"; null where that is more than half a day away. */
export function distance(instant, now = new Date()) {
  const minutes = Math.round((new Date(instant) - now) / 60_000);
  if (Math.abs(minutes) > 12 * 60) return null;
  if (minutes === 0) return "now";
  return Math.abs(minutes) < 60
    ? DISTANCE.format(minutes, "minute")
    : DISTANCE.format(Math.round(minutes / 60), "hour");
}

/** An instant as the values of `<input type="date">` and `<input type="time">`, in the person's zone. */
export function toInputs(instant) {
  const date = new Date(instant);
  const two = (number) => String(number).padStart(2, "0");
  return {
    date: `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    time: `${two(date.getHours())}:${two(date.getMinutes())}`,
  };
}

/** The instant that such inputs name, as the back end takes it; null where they name none. */
export function fromInputs(date, time) {
  const instant = new Date(`${date}T${time}`);
  return Number.isNaN(instant.getTime()) ? null : instant.toISOString();
}

/** Whether such inputs name a time that the clocks skip, as when they go forward in spring. */
export function isSkipped(date, time) {
  const instant = fromInputs(date, time);
  return instant !== null && toInputs(instant).time !== time.slice(0, 5);
}

/** What a new session begins with: the next half hour that is at least a quarter of an hour away. */
export function nextGoodStart(now = new Date()) {
  return new Date(Math.ceil((now.getTime() + HOUR / 4) / (HOUR / 2)) * (HOUR / 2));
}
