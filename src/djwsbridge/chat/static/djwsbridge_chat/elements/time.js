// @ts-check
/** Times and days in the reader's own locale. */

const clockTime = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const thisYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const otherYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const MINUTE = 60_000; // ms
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** @param {string} iso */
export const formatTime = (iso) => clockTime.format(new Date(iso));

/** @param {string} iso */
export const formatFull = (iso) => fullTime.format(new Date(iso));

/** Name a day as people do: today, yesterday, or its date. @param {string} iso @param {Date} [now] */
export function formatDay(iso, now = new Date()) {
  const date = new Date(iso);
  const days = Math.round((startOfDay(now) - startOfDay(date)) / DAY);
  if (days === 0 || days === 1) return capitalize(relative.format(-days, "day"));
  return (date.getFullYear() === now.getFullYear() ? thisYear : otherYear).format(date);
}

/** Say how long ago somebody was here, as roughly as people do. @param {string} iso @param {Date} [now] */
export function formatAgo(iso, now = new Date()) {
  const ms = Math.max(0, now.getTime() - Date.parse(iso));
  if (ms < MINUTE) return "just now";
  if (ms < HOUR) return relative.format(-Math.floor(ms / MINUTE), "minute");
  if (ms < DAY) return relative.format(-Math.floor(ms / HOUR), "hour");
  if (ms < 7 * DAY) return relative.format(-Math.floor(ms / DAY), "day");
  return otherYear.format(new Date(iso));
}

/** @param {Date} date */
function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** @param {string} text */
function capitalize(text) {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}
