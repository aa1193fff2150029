// Small pictures: bars, intervals, curves. Each has a text beside it, or a label, that says the same.

import { el, svg } from "./dom.js";
import { number, percent, t } from "./format.js";

const round = (value) => Math.round(value * 100) / 100;

export function bar(share, label) {
  const width = round(100 * Math.min(1, Math.max(0, share)));
  return svg("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("rect", { class: "track", width: 100, height: 6, rx: 0 }), svg("rect", { class: "fill", width, height: 6 }));
}

// A share with its interval, on a scale from 0 to `top`.
export function interval(ratio, top) {
  if (!ratio) return "–";
  const x = (value) => round(4 + 112 * Math.min(1, value / top));
  const label = t("models.interval", { low: percent(ratio.low), high: percent(ratio.high) });
  return el("span", { class: "ratio", title: label }, el("strong", {}, percent(ratio.share)),
    svg("svg", { viewBox: "0 0 120 16", role: "img", "aria-label": label },
      svg("rect", { class: "track", x: 4, y: 7, width: 112, height: 2, rx: 1 }),
      svg("line", { class: "whisker", x1: x(ratio.low), x2: x(ratio.high), y1: 8, y2: 8 }),
      svg("circle", { class: "point", cx: x(ratio.share), cy: 8, r: 4 })));
}

export function spark(values, label) {
  if (values.length < 2) return "";
  const top = Math.max(...values, 1e-9);
  const points = values.map((value, place) => `${round(place * 110 / (values.length - 1))},${round(24 - 22 * value / top)}`);
  return svg("svg", { class: "spark", viewBox: "0 0 110 26", preserveAspectRatio: "none", role: "img", "aria-label": label }, svg("path", { d: `M${points.join("L")}` }));
}

// The parts of a score, side by side: what speaks for the item to the right, what speaks against it to the left of the line.
export function parts(reasons, kindOf, most) {
  const plus = reasons.filter((one) => one.share > 0);
  const minus = reasons.filter((one) => one.share < 0);
  const against = minus.reduce((sum, one) => sum - one.share, 0);
  const scale = 300 / Math.max(most, 1e-9);
  const picture = svg("svg", { viewBox: "0 0 300 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  let x = 0;
  if (against > 0) {
    picture.append(svg("rect", { class: "k-minus", x: 0, width: round(against * scale), height: 10, rx: 2 }));
    x = against * scale + 1.5;
  }
  for (const one of plus) {
    const width = one.share * scale;
    picture.append(svg("rect", { class: `k-${kindOf(one.kind)}`, x: round(x), width: round(Math.max(0.5, width - 1)), height: 10, rx: 2 }));
    x += width;
  }
  return picture;
}

export const extent = (reasons) => reasons.reduce((sum, one) => sum + Math.abs(one.share), 0);

// Loss and validation by step: each on a scale of its own, as only their shape is to be seen.
export function curve(loss, validation) {
  const all = [...loss, ...validation];
  if (loss.length < 2) return null;
  const last = Math.max(...all.map(([step]) => step));
  const first = Math.min(...all.map(([step]) => step));
  const path = (points) => {
    const values = points.map(([, value]) => value);
    const low = Math.min(...values), high = Math.max(...values);
    return points.map(([step, value]) => [round(6 + 408 * (step - first) / Math.max(1, last - first)), round(106 - 92 * (high > low ? (value - low) / (high - low) : 0.5))]);
  };
  const picture = svg("svg", { class: "curve", viewBox: "0 0 420 132", role: "img",
    "aria-label": t("training.curve", { first: number(loss[0][1], 3), last: number(loss.at(-1)[1], 3), step: number(last) }) });
  for (const y of [14, 60, 106]) picture.append(svg("line", { class: "axis", x1: 6, x2: 414, y1: y, y2: y }));
  const lost = path(loss);
  picture.append(svg("path", { class: "loss", d: `M${lost.map((one) => one.join(",")).join("L")}` }));
  if (validation.length) {
    const proved = path(validation);
    if (proved.length > 1) picture.append(svg("path", { class: "validation", d: `M${proved.map((one) => one.join(",")).join("L")}` }));
    for (const [x, y] of proved) picture.append(svg("circle", { class: "spot", cx: x, cy: y, r: 3 }));
  }
  picture.append(svg("text", { x: 6, y: 126 }, t("training.step", { n: number(first) })), svg("text", { x: 414, y: 126, "text-anchor": "end" }, number(last)));
  return picture;
}
