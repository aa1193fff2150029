// Connects to the console, and shows each view that comes.

import { byId } from "./dom.js";
import { loadStrings, t, tick } from "./format.js";
import * as sections from "./sections.js";

const SILENT_MS = 12000;
const LIST_MS = 5500;
const narrow = matchMedia("(max-width: 860px)");
let view = null;
let heardAt = 0;
let skew = 0; // Clocks of browser and console differ: ages are counted on the console's.
let isPaused = false;
let hasList = false;
let listedAt = 0;

const now = () => Date.now() + skew;

function show() {
  if (!view) return;
  sections.overview(view, now());
  sections.flow(view, narrow.matches);
  sections.workers(view);
  // Who reads, points or has the focus there keeps what is there.
  const isRead = byId("recommendation-list").matches(":hover, :focus-within");
  // New lists come faster than they can be read: some seconds each.
  const isSoon = Date.now() - listedAt < LIST_MS && hasList;
  if (!isPaused && !(isRead && hasList) && !isSoon) {
    listedAt = Date.now();
    sections.recommendations(view, now(), narrow.matches ? 4 : 9);
  }
  hasList = view.recommendations.length > 0;
  sections.models(view, now());
  sections.training(view, now());
  sections.letters(view, now());
  sections.privacy(view, now());
  document.body.dataset.ready = "true";
}

function live(state) {
  const box = byId("live");
  if (box.dataset.state === state) return;
  box.dataset.state = state;
  byId("live-text").textContent = t(`live.${state}`);
  byId("live").title = state === "lost" ? t("live.lost_todo") : "";
  sections.connection(state === "lost");
}

function connect() {
  const source = new EventSource("/events");
  source.addEventListener("message", (event) => {
    view = JSON.parse(event.data);
    heardAt = Date.now();
    skew = view.at - heardAt;
    live("live");
    show();
  });
  source.addEventListener("error", () => {
    live("lost");
    // Closed for good, as with "too many pages": the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
  });
}

function setUpTheme() {
  const order = ["auto", "light", "dark"];
  const button = byId("theme");
  const root = document.documentElement;
  const label = () => {
    const shown = t(`theme.${root.dataset.theme ?? "auto"}`);
    button.textContent = shown;
    button.setAttribute("aria-label", `${t("theme.label")}: ${shown}`);
  };
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(root.dataset.theme ?? "auto") + 1) % order.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("veilstream-theme", next);
    } catch {
      // Storage is switched off: the choice holds until the page is closed.
    }
    label();
  });
  label();
}

function setUpPause() {
  const button = byId("pause");
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.setAttribute("aria-pressed", String(isPaused));
    button.textContent = t(isPaused ? "recommendations.resume" : "recommendations.pause");
    show();
  });
}

function markSection() {
  const links = [...document.querySelectorAll("nav a")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links) {
        if (link.hash === `#${entry.target.id}`) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);
}

await loadStrings();
setUpTheme();
setUpPause();
markSection();
sections.key();
byId("stages-box").open = !narrow.matches;
connect();
narrow.addEventListener("change", show);
setInterval(() => {
  tick(now());
  if (heardAt && Date.now() - heardAt > SILENT_MS) live("lost");
}, 1000);
