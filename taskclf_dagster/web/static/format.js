/** Numbers and times for people. Times are local, with a relative form; the title has UTC. */

import { el } from "./dom.js";

// The page is in English; whoever reads it in another language gets days before months and 24 hours.
const LANGUAGE = navigator.language.startsWith("en") ? navigator.language : "en-GB";
const DAY = new Intl.DateTimeFormat(LANGUAGE, { weekday: "short", day: "numeric", month: "short" });
const DAY_AND_YEAR = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const WHOLE = new Intl.NumberFormat(LANGUAGE);
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

/** Returns a <time> with day, clock and relative form; "unknown" without a moment. */
export function when(moment, { relative = true } = {}) {
  if (!moment) return "unknown";
  const at = new Date(moment);
  if (Number.isNaN(at.getTime())) return String(moment);
  const words = relative ? `${absolute(at)} (${ago(at)})` : absolute(at);
  return el("time", { datetime: moment, title: utc(at) }, words);
}

/** Returns a <time> of two lines, for a table. */
export function whenInLines(moment) {
  if (!moment) return "unknown";
  const at = new Date(moment);
  return el("time", { datetime: moment, title: utc(at), class: "lines" }, el("span", {}, absolute(at)), " ", el("span", { class: "quiet small" }, ago(at)));
}

/** Returns a <time> with the relative form only. */
export function since(moment) {
  if (!moment) return "unknown";
  const at = new Date(moment);
  return el("time", { datetime: moment, title: `${absolute(at)} · ${utc(at)}` }, ago(at));
}

/** Returns `in 3 hours`, `2 days ago` or `just now`. */
function ago(at) {
  const seconds = (at.getTime() - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length * (length > 86400 ? 2 : 1)) ?? ["second", 1];
  if (unit === "second") return seconds > 0 ? "in less than a minute" : "just now";
  return RELATIVE.format(Math.trunc(seconds / size), unit);
}

/** Returns `1 min 20 s` for seconds. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 && minutes < 10 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Returns a score with three digits, and a dash where there is none. */
export function score(value) {
  return isNumber(value) ? value.toFixed(3) : "–";
}

/** Returns a difference of scores with its sign. */
export function difference(value) {
  if (!isNumber(value)) return "–";
  return `${value < 0 ? "−" : value > 0 ? "+" : "±"}${Math.abs(value).toFixed(3)}`;
}

/** Returns a whole number with separators. */
export function whole(value) {
  return isNumber(value) ? WHOLE.format(value) : "–";
}

/** Returns a number with its noun: `1 window`, `2,000 windows`. */
export function counted(value, noun) {
  return `${whole(value)} ${value === 1 ? noun : `${noun}s`}`;
}

/** Returns true for a number that can be shown. */
export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** Returns a text that begins with a capital letter, unless its first word is a name such as `min_labels`, `taskclf` or a path. */
export function sentence(text) {
  const words = String(text ?? "").trim();
  return /^(?!taskclf\b)[a-z][a-z-]*[ ,:;.]/.test(`${words} `) ? words[0].toUpperCase() + words.slice(1) : words;
}

/** Returns the day of a moment. */
export function day(moment) {
  return DAY_AND_YEAR.format(new Date(moment));
}

function absolute(at) {
  const isNear = Math.abs(at.getTime() - Date.now()) < 300 * 86400 * 1000;
  return `${(isNear ? DAY : DAY_AND_YEAR).format(at)}, ${CLOCK.format(at)}`;
}

function utc(at) {
  return `${at.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
