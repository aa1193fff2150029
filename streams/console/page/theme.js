// Runs before the first paint, so that the page never shows the wrong colours for a moment.
try {
  const kept = localStorage.getItem("veilstream-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch {
  // Storage is switched off: the system's colours are used.
}
