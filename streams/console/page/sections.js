// One function for each section of the page: from the view to elements.

import { bar, curve, extent, interval, parts, spark } from "./charts.js";
import { byId, el, put } from "./dom.js";
import { picture } from "./flow.js";
import { NONE, ago, fixed, has, millis, number, percent, rate, rich, seconds, short, t, word } from "./format.js";

const status = (state, group = "state") => el("span", { class: "status" }, el("span", { class: `dot ${state}`, "aria-hidden": "true" }), word(group, state));
const empty = (name) => el("p", { class: "empty" }, el("strong", {}, t(`${name}.empty`)), rich(`${name}.empty_todo`));
const total = (values) => values.reduce((sum, value) => sum + value, 0);

// Columns: [title, "num" | "main" | ""]; rows: arrays of contents.
function table(columns, rows, more = {}) {
  const head = el("thead", {}, el("tr", {}, columns.map(([title, kind]) => el("th", { scope: "col", class: kind === "num" ? "num" : null }, title))));
  const body = el("tbody", {}, rows.map((row) => el("tr", {}, row.map((content, place) => {
    const [title, kind] = columns[place];
    const isBlank = content === "" || content === null;
    return el("td", { class: [kind, isBlank ? "blank" : ""].filter(Boolean).join(" ") || null, "data-name": title }, kind === "main" ? content : el("span", {}, content));
  }))));
  return el("table", more, head, body);
}

function figure(name, value, unit, note) {
  return el("div", { class: "figure" }, el("p", { class: "name" }, name), el("p", { class: "value" }, value, value === NONE ? "" : el("span", { class: "unit" }, unit)), el("p", { class: "note" }, note));
}

export function overview(view, now) {
  const stage = Object.fromEntries(view.flow.stages.map((one) => [one.name, one]));
  const bad = view.notices.filter((one) => one.severity === "bad").length;
  const count = view.notices.length;
  byId("summary").textContent = count === 0 ? t("overview.fine") : bad ? t("overview.bad", { n: count }) : t("overview.warn", { n: count });
  const behind = view.flow.stages.map((one) => one.behind_s).filter((one) => one !== null);
  const seen = total(view.models.versions.map((one) => one.seen));
  const clicks = total(view.models.versions.map((one) => one.clicks));
  const bought = total(view.models.versions.map((one) => one.purchases));
  put("figures",
    figure(t("figure.events"), rate(view.flow.topics["behaviour.raw"]), t("unit.per_s"), t("figure.events_note")),
    figure(t("figure.recommendations"), rate(view.flow.topics.recommendations), t("unit.per_s"), t("figure.recommendations_note")),
    figure(t("figure.latency"), millis(stage.profile?.p50_ms ?? null), "", stage.profile?.p99_ms ? t("figure.latency_note", { p99: millis(stage.profile.p99_ms) }) : ""),
    figure(t("figure.behind"), behind.length ? seconds(Math.max(...behind)) : NONE, "", t("figure.behind_note")),
    figure(t("figure.clicks"), seen ? percent(clicks / seen) : NONE, "", seen ? t("figure.clicks_note", { n: percent(bought / seen) }) : ""),
    figure(t("figure.letters"), view.dead_letters.per_minute === null ? NONE : rate(view.dead_letters.per_minute), t("unit.per_min"), t("figure.letters_note")));
  put("notices", view.notices.map((one) => {
    const values = { ...one.values };
    if ("seconds" in values) values.seconds = seconds(values.seconds);
    if ("share" in values) values.share = percent(values.share);
    for (const name of ["lag", "left", "records", "partitions", "times", "open"]) if (name in values) values[name] = number(values[name]);
    if ("index" in values) values.index = number(values.index, 2);
    if ("stage" in values) values.stage = word("stage", values.stage);
    if (one.code === "model_refused") values.reason = word("refusal", values.reason);
    return el("li", { class: `notice ${one.severity}` }, el("span", { class: `dot ${one.severity}`, "aria-hidden": "true" }), el("p", { class: "what" }, t(`notice.${one.code}`, values)), el("p", {}, rich(`notice.${one.code}.todo`, values)));
  }));
  void now;
}

export function connection(isLost) {
  document.body.dataset.lost = String(isLost);
  if (isLost) byId("summary").textContent = t("live.lost_todo");
}

export function flow(view, isNarrow) {
  put("flow-picture", picture(view.flow, isNarrow));
  put("stages", table(
    [[t("stages.stage"), "main"], [t("stages.state"), ""], [t("stages.rate"), "num"], [t("stages.minutes"), ""], [t("stages.latency"), "num"], [t("stages.lag"), "num"], [t("stages.behind"), "num"], [t("stages.workers"), "num"]],
    view.flow.stages.map((one) => [
      el("strong", {}, word("stage", one.name)),
      status(one.state),
      one.rate === null ? NONE : `${rate(one.rate)} ${one.name === "trainer" ? t("unit.pairs_s") : t("unit.per_s")}`,
      spark(one.rates, t("stages.spark", { stage: word("stage", one.name) })),
      one.p50_ms === null ? NONE : `${millis(one.p50_ms)} / ${millis(one.p99_ms)}`,
      number(one.lag), seconds(one.behind_s), number(one.workers),
    ])));
}

export function workers(view) {
  put("workers", table(
    [[t("workers.address"), "main"], [t("stages.state"), ""], [t("workers.runs"), ""], [t("workers.version"), ""], [t("workers.todo"), ""]],
    view.workers.map((one) => [
      el("code", { class: "keep" }, one.address), status(one.state, "worker"), el("span", { class: "keep" }, one.stages.map((name) => word("stage", name)).join(", ") || NONE), one.version || NONE,
      one.state === "ok" ? "" : rich(`worker.${one.state}.todo`, { problem: one.problem, missing: one.missing.join(", ") }),
    ])));
}

const KINDS = ["item", "query", "popularity", "together", "match", "other"];
const kindOf = (kind) => ({ text: "item", history: "item", seen: "item", pairs: "together", rest: "other" }[kind] ?? (KINDS.includes(kind) ? kind : "other"));

export function key() {
  put("reason-key", [...KINDS, "minus"].map((kind) => el("span", {}, el("i", { class: `k-${kind}`, "aria-hidden": "true" }), t(`kind.${kind}`))));
}

function why(reason) {
  const title = reason.title ?? t("reason.an_item");
  if (reason.kind === "item") return t("reason.item", { what: word("event", reason.event_type ?? "view"), title });
  if (reason.kind === "together") return t("reason.together", { title });
  return has(`reason.${reason.kind}`) ? t(`reason.${reason.kind}`) : reason.kind;
}

// The largest parts, and what is left of the score at last.
function largest(reasons) {
  const named = reasons.filter((one) => one.kind !== "rest").sort((a, b) => Math.abs(b.share) - Math.abs(a.share));
  return [...named.slice(0, 3), ...reasons.filter((one) => one.kind === "rest")];
}

let shown = new Set();

function card(one, now, isNew) {
  const most = Math.max(...one.items.map((item) => extent(item.reasons)), 1e-9);
  return el("article", { class: isNew ? "card rec new" : "card rec", "data-key": one.key },
    el("header", {},
      el("span", {}, el("b", {}, t("recommendations.shopper", { tag: one.shopper })), ` · ${t("recommendations.after", { what: word("event", one.trigger) })}`, one.is_profiled ? "" : ` · ${t("recommendations.unprofiled")}`),
      ago(one.at, now)),
    el("ol", {}, one.items.map((item) => el("li", { class: "item" },
      el("span", { class: "title", title: item.item_id }, item.title ?? item.item_id),
      el("span", { class: "score", title: t("recommendations.score") }, fixed(item.score)),
      parts(item.reasons, kindOf, most),
      el("ul", { class: "why" }, largest(item.reasons).map((reason) => el("li", {},
        el("i", { class: `k-${reason.share < 0 ? "minus" : kindOf(reason.kind)}`, "aria-hidden": "true" }), el("span", { title: why(reason) }, why(reason)), el("span", {}, signed(reason.share))))),
    ))),
    one.more ? el("p", { class: "more" }, t("recommendations.more", { n: number(one.more) })) : "");
}

const signed = (value) => `${value < 0 ? "−" : "+"}${fixed(Math.abs(value))}`;

export function recommendations(view, now, most) {
  const list = view.recommendations.slice(0, most);
  // A few new ones may be seen to come; where all are new, nothing moves.
  const fresh = list.filter((one) => !shown.has(one.key)).length;
  const few = shown.size > 0 && fresh <= 3;
  put("recommendation-list", list.length ? list.map((one) => card(one, now, few && !shown.has(one.key))) : empty("recommendations"));
  const kept = Object.entries(view.flow.suppressed).filter(([, count]) => count > 0);
  put("suppressed", kept.length ? el("p", { class: "small" }, t("recommendations.suppressed", { reasons: kept.map(([name, count]) => `${word("suppressed", name)} ${number(count)}`).join(", ") })) : "");
  shown = new Set(list.map((one) => one.key));
}

function channel(one, now) {
  return el("div", { class: "card" },
    el("h3", {}, word("channel", one.name)),
    el("p", { class: "big" }, one.version),
    el("div", { class: "share" }, bar(one.share, percent(one.share, 0))),
    el("p", { class: "small" }, t("models.share", { share: percent(one.share, 0) }), one.announced_at ? [" · ", t("models.announced"), " ", ago(one.announced_at, now)] : ""),
    one.reason ? el("p", { class: "small" }, one.reason) : "",
    el("p", { class: "small" }, rich(one.announced_at ? (one.is_verified ? "models.verified" : "models.unverified") : "models.of_settings")));
}

export function models(view, now) {
  const { channels, versions } = view.models;
  // Before anything is announced on stable, workers serve the model of their settings.
  const first = channels.some((one) => one.name === "stable") ? null : versions.find((one) => one.channels.includes("stable"));
  const canary = channels.find((one) => one.name === "canary");
  const all = first ? [{ name: "stable", version: first.version, share: 1 - (canary?.share ?? 0) }, ...channels] : channels;
  put("channels", all.length ? all.map((one) => channel(one, now)) : empty("models"));
  const top = Math.max(...versions.flatMap((one) => [one.click_through?.high ?? 0, one.conversion?.high ?? 0]), 0.02);
  put("versions", versions.length ? table(
    [[t("models.version"), "main"], [t("models.recommendations"), "num"], [t("models.seen"), "num"], [t("models.click_through"), ""], [t("models.conversion"), ""]],
    versions.map((one) => [
      [el("strong", {}, one.version), " ", one.channels.map((name) => el("span", { class: "tag" }, word("channel", name)))],
      number(one.recommendations), number(one.seen), interval(one.click_through, top), interval(one.conversion, top),
    ])) : "");
}

export function training(view, now) {
  const of = view.training;
  const cards = [
    el("div", { class: "card" }, el("h3", {}, t("training.next")), el("p", { class: "big" }, short(of.new_pairs)), el("p", { class: "small" }, t("training.new_pairs"))),
    el("div", { class: "card" }, el("h3", {}, t("training.drift")), el("p", { class: "big" }, number(of.score_stability, 3)), el("p", { class: "small" }, t(of.score_stability === null ? "training.drift_none" : "training.drift_note"))),
    el("div", { class: "card" }, el("h3", {}, t("training.ignored")), el("p", { class: "big" }, percent(of.ignored_share)), el("p", { class: "small" }, t("training.ignored_note"))),
    el("div", { class: "card" }, el("h3", {}, t("training.now")), el("p", { class: "big" }, of.steps ? percent(of.step / of.steps, 0) : t("training.idle")),
      el("p", { class: "small" }, of.steps ? t("training.progress", { step: number(of.step), steps: number(of.steps), left: seconds(of.seconds_left) }) : t("training.stored", { n: short(of.pairs_stored) }))),
  ];
  put("training-now", el("div", { class: "now" }, cards));
  put("rounds", of.rounds.length ? el("div", { class: "rounds" }, of.rounds.map((one) => round(one, now))) : empty("training"));
}

function round(one, now) {
  const picture = curve(one.loss, one.validation);
  const last = one.ended_at ?? one.started_at ?? one.requested_at;
  return el("article", { class: "card round" },
    el("div", {},
      el("p", { class: "head" }, el("strong", {}, t("training.round", { id: one.id })), status(one.state, "round"), el("span", { class: "small" }, ago(last, now))),
      el("p", { class: "small" }, t("training.cause", { cause: word("cause", one.cause), pairs: short(one.pairs) }), one.started_at && one.ended_at ? ` · ${t("training.took", { time: seconds((one.ended_at - one.started_at) / 1000) })}` : ""),
      one.version ? el("p", { class: "verdict" }, el("span", { class: "tag" }, one.version)) : "",
      el("p", { class: "verdict small" }, one.verdict || one.reason)),
    el("div", {}, picture ?? el("p", { class: "small" }, t(["requested", "started"].includes(one.state) ? "training.curve_soon" : "training.no_curve")),
      picture ? el("p", { class: "key" }, el("span", {}, el("i", { class: "k-item", "aria-hidden": "true" }), t("training.loss")), one.validation.length ? el("span", {}, el("i", { class: "k-match", "aria-hidden": "true" }), t("training.validation")) : "") : ""));
}

const MOST_ROWS = 5;

export function letters(view, now) {
  const of = view.dead_letters;
  const rows = (list) => table(
    [[t("letters.reason"), "main"], [t("letters.from"), ""], [t("letters.count"), "num"], [t("letters.newest"), "num"]],
    list.map((one) => [
      [el("strong", {}, word("reason_code", one.reason)), " ", el("code", {}, one.reason), el("span", { class: "todo" }, rich(has(`remedy.${one.reason}`) ? `remedy.${one.reason}` : "remedy.unknown")), one.detail ? el("span", { class: "todo" }, t("letters.detail", { detail: one.detail })) : ""],
      [el("code", {}, one.topic), el("br"), el("span", { class: "small" }, word("stage", one.stage))], number(one.count), ago(one.newest, now),
    ]), { class: "letters" });
  put("letter-rows", of.rows.length ? rows(of.rows.slice(0, MOST_ROWS)) : empty("letters"));
  byId("more-letters").hidden = of.rows.length <= MOST_ROWS;
  byId("more-letters-text").textContent = t("letters.more", { n: number(of.rows.length - MOST_ROWS) });
  put("more-letter-rows", of.rows.length > MOST_ROWS ? rows(of.rows.slice(MOST_ROWS)) : "");
  put("letter-count",
  of.rows.length ? el("p", { class: "small" }, of.skipped ? t("letters.skipped", { n: number(of.seen), skipped: number(of.skipped) }) : t("letters.all", { n: number(of.seen) })) : "");
  put("sources", of.sources.length ? [el("h3", { class: "gap" }, t("sources.title")), table(
    [[t("sources.source"), "main"], [t("sources.read"), "num"], [t("sources.refused"), "num"], [t("sources.share"), "num"], [t("sources.most"), ""]],
    of.sources.map((one) => [
      el("strong", {}, one.source === "none" ? t("sources.none") : one.source), number(one.read), number(one.refused), one.read ? percent(one.refused / one.read) : NONE,
      Object.entries(one.reasons).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([name, count]) => `${word("reason_code", name)} ${number(count)}`).join(", "),
    ]))] : "");
}

function row(name, value, share) {
  return el("div", { class: "bar-row" }, el("span", {}, name), el("strong", {}, value), bar(share ?? 0, `${name}: ${value}`));
}

export function privacy(view, now) {
  const of = view.privacy;
  const audit = of.audit;
  put("privacy-cards",
    el("div", { class: "card" }, el("h3", {}, t("privacy.crowd")), el("p", { class: "big" }, t("privacy.k", { k: number(of.k) })), el("p", { class: "small" }, t("privacy.k_note")),
      of.widened.length ? of.widened.map((one) => row(word("flag", one.flag), one.share === null ? number(one.count) : percent(one.share), one.share)) : el("p", { class: "small" }, t("privacy.widened_none")),
      of.measured.map((one) => el("p", { class: "small" }, t(one.below ? "privacy.measured_bad" : "privacy.measured", { attribute: word("attribute", one.attribute), least: number(one.least), below: number(one.below), k: number(one.k) }), " ", ago(one.at, now))),
      of.measured.length ? "" : el("p", { class: "small" }, rich("privacy.measure_todo"))),
    el("div", { class: "card" }, el("h3", {}, t("privacy.consent")),
      of.consents.length ? of.consents.map((one) => row(word("purpose", one.purpose), t("privacy.allow", { allowed: number(one.allowed), all: number(one.allowed + one.refused) }), one.allowed / Math.max(1, one.allowed + one.refused))) : el("p", { class: "small" }, t("privacy.consent_none"))),
    el("div", { class: "card" }, el("h3", {}, t("privacy.erasures")), el("p", { class: "big" }, of.erasures_open === null ? NONE : number(of.erasures_open)),
      el("p", { class: "small" }, of.erasures_open === null ? rich("privacy.erasures_unknown") : of.erasures_open > 0 ? t("privacy.oldest", { age: seconds(of.oldest_s) }) : t("privacy.erasures_none"))),
    el("div", { class: "card" }, el("h3", {}, t("privacy.audit")), el("p", { class: "big" }, status(audit.state, "audit")),
      el("p", { class: "small" }, rich(`audit.${audit.state}.note`, { links: number(audit.links), chains: number(audit.chains), unread: number(audit.unread) })),
      audit.checked_at && audit.state !== "keys" ? el("p", { class: "small" }, t("privacy.checked"), " ", ago(audit.checked_at, now)) : "",
      Object.entries(audit.wrong).map(([name, count]) => el("p", { class: "small" }, `${word("wrong", name)}: ${number(count)}`))));
}
