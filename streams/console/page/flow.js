// The picture of the flow: stages as boxes, topics as labels between them. Two layouts, for wide and for narrow pages.

import { svg } from "./dom.js";
import { millis, rate, seconds, short, t, word } from "./format.js";

const WIDE = {
  size: [1180, 388],
  box: [178, 132],
  stages: { ingest: [253, 84], profile: [563, 84], feedback: [1073, 84], catalogue: [253, 304], trainer: [773, 304], learning: [1073, 304] },
  topics: {
    "behaviour.raw": [62, 84], "behaviour.clean": [408, 84], recommendations: [818, 84], "catalogue.items": [62, 304],
    "items.vectors": [408, 304], models: [606, 304], "training.pairs": [1073, 194], "training.control": [923, 304],
  },
  edges: [
    ["M62,84H162", "behaviour.raw"],
    ["M342,84H472", "behaviour.clean"],
    ["M652,84H982", "recommendations"],
    ["M1073,150V236", "feedback"],
    ["M984,304H864", null],
    ["M684,304H618Q606,304 606,292V152", null],
    ["M62,304H162", "catalogue.items"],
    ["M342,304H508Q520,304 520,292V152", "catalogue.items"],
  ],
};
const NARROW = {
  size: [360, 800],
  box: [166, 122],
  stages: { ingest: [87, 138], catalogue: [273, 138], profile: [180, 344], feedback: [87, 550], learning: [87, 732], trainer: [273, 732] },
  topics: {
    "behaviour.raw": [87, 26], "catalogue.items": [273, 26], "behaviour.clean": [87, 240], "items.vectors": [273, 240],
    recommendations: [87, 448], "training.pairs": [87, 641], models: [273, 550],
  },
  edges: [
    ["M87,26V75", "behaviour.raw"],
    ["M273,26V75", "catalogue.items"],
    ["M87,199V256Q87,266 97,266H130Q140,266 140,281", "behaviour.clean"],
    ["M273,199V256Q273,266 263,266H230Q220,266 220,281", "catalogue.items"],
    ["M140,405V412Q140,422 130,422H97Q87,422 87,432V487", "recommendations"],
    ["M87,611V669", "feedback"],
    ["M170,732H188", null],
    ["M273,671V432Q273,422 263,422H230Q220,422 220,407", null],
  ],
};

const pace = (value) => (!value ? null : value < 20 ? "slow" : value < 300 ? "mid" : "fast");

export function picture(flow, isNarrow) {
  const layout = isNarrow ? NARROW : WIDE;
  const [width, height] = layout.size;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("flow.label") });
  root.append(svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { class: "head", d: "M0,0L8,4L0,8z" }))));
  for (const [d, topic] of layout.edges) {
    root.append(svg("path", { class: "edge", d, "marker-end": "url(#arrow)" }));
    const speed = topic ? pace(flow.topics[topic]) : null;
    if (speed) root.append(svg("path", { class: `pulse ${speed}`, d }));
  }
  for (const [name, [x, y]] of Object.entries(layout.topics)) {
    const shown = word("topic", name);
    const long = [...shown].reduce((sum, letter) => sum + (letter > "ÿ" ? 13.5 : 7.4), 0) + 26;
    root.append(svg("rect", { class: "t-box", x: x - long / 2, y: y - 14, width: long, height: 28, rx: 14 }));
    root.append(svg("text", { class: "t-name", x, y: y + 4.5, "text-anchor": "middle" }, shown));
  }
  for (const stage of flow.stages) {
    if (layout.stages[stage.name]) root.append(node(stage, layout.stages[stage.name], layout.box));
  }
  return root;
}

function node(stage, [x, y], [width, height]) {
  const left = x - width / 2 + 16;
  const top = y - height / 2;
  const isTrainer = stage.name === "trainer";
  const tight = height < 130;
  const lines = isTrainer && stage.workers
    ? [word("state", stage.state), t("flow.waiting", { n: short(stage.lag) })]
    : stage.workers === 0
      ? [word("state", stage.state), t("flow.no_worker")]
      : [stage.p50_ms === null ? t("flow.idle") : t("flow.latency", { p50: millis(stage.p50_ms), p99: millis(stage.p99_ms) }), t("flow.lag", { n: short(stage.lag), s: seconds(stage.behind_s) })];
  return svg("g", {},
    svg("rect", { class: `n-box ${stage.state}`, x: x - width / 2, y: top, width, height, rx: 14 }),
    svg("circle", { class: `n-dot ${stage.state}`, cx: left + 4, cy: top + 23, r: 5 }),
    svg("text", { class: "n-name", x: left + 16, y: top + 28 }, word("stage", stage.name)),
    svg("text", { class: "n-rate", x: left, y: top + (tight ? 62 : 66) }, rate(stage.rate), svg("tspan", { class: "n-unit", dx: 5 }, isTrainer ? t("unit.pairs_s") : t("unit.per_s"))),
    svg("text", { class: "n-line", x: left, y: top + (tight ? 84 : 92) }, lines[0]),
    svg("text", { class: "n-line", x: left, y: top + (tight ? 103 : 112) }, lines[1]));
}
