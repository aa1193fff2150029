// Numbers, durations and times in the page's language.

import { el } from "./dom.js";

export const language = document.documentElement.lang;
const locale = language === "zh" ? "zh-CN" : "en-GB";
let strings = {};

export async function loadStrings() {
  strings = await (await fetch(`/page/${language}.json`)).json();
}

export const has = (name) => Object.hasOwn(strings, name);

// The text of that name, with its {places} filled.
export function t(name, values = {}) {
  if (!has(name)) return name;
  return strings[name].replace(/\{(\w+)\}/g, (whole, key) => (Object.hasOwn(values, key) ? String(values[key]) : whole));
}

// The same, with what stands between backticks as code.
export function rich(name, values = {}) {
  return t(name, values).split("`").map((part, place) => (place % 2 ? el("code", {}, part) : part));
}

// A word of the product that may be newer than this page: itself where there is no text.
export const word = (group, name) => (has(`${group}.${name}`) ? t(`${group}.${name}`) : name);

export const NONE = "–";
const formats = new Map();

function format(digits) {
  if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat(locale, { maximumFractionDigits: digits }));
  return formats.get(digits);
}

export function number(value, digits = 0) {
  return value === null || value === undefined ? NONE : format(digits).format(value);
}

const two = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const fixed = (value) => two.format(value);

export function short(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 10000) return number(value, value < 10 && value % 1 ? 1 : 0);
  return new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export function rate(value) {
  return value === null || value === undefined ? NONE : number(value, value < 10 ? 1 : 0);
}

export function percent(value, digits = 1) {
  if (value === null || value === undefined) return NONE;
  return new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: digits }).format(value);
}

export function millis(value) {
  if (value === null || value === undefined) return NONE;
  return value < 1000 ? t("unit.ms", { n: number(value, value < 10 ? 1 : 0) }) : t("unit.s", { n: number(value / 1000, 1) });
}

export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 90) return t("unit.s", { n: number(value, value < 10 ? 1 : 0) });
  if (value < 5400) return t("unit.min", { n: number(value / 60) });
  if (value < 129600) return t("unit.h", { n: number(value / 3600) });
  return t("unit.d", { n: number(value / 86400) });
}

const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });

function agoText(at, now) {
  const past = Math.max(0, (now - at) / 1000);
  if (past < 3) return t("time.now");
  if (past < 90) return relative.format(-Math.round(past), "second");
  if (past < 5400) return relative.format(-Math.round(past / 60), "minute");
  if (past < 129600) return relative.format(-Math.round(past / 3600), "hour");
  return relative.format(-Math.round(past / 86400), "day");
}

// A relative time; the absolute one shows on pointing at it. Its text is brought up to date by tick().
export function ago(at, now) {
  if (at === null || at === undefined) return NONE;
  return el("time", { datetime: new Date(at).toISOString(), title: absolute.format(at), "data-at": at }, agoText(at, now));
}

export function tick(now) {
  for (const one of document.querySelectorAll("time[data-at]")) {
    const text = agoText(Number(one.dataset.at), now);
    if (one.textContent !== text) one.textContent = text;
  }
}
