/** The retrains so far, as a table with a picture of their scores. */

import { Refused, get } from "./api.js";
import { byId, el, prose, roomIn, show, svg, table } from "./dom.js";
import { hasPassed, trendChart } from "./charts.js";
import { difference, isNumber, score, sentence, whenInLines, whole } from "./format.js";
import { causeWords, outcomeBadges, stateBadge, waitingDecision } from "./words.js";

const PAGE = 20;
let items = [];
let nextCursor = null;
let shownFor = null;
let waitingId = null;

/** Shows the picture of the scores. */
export function showTrend({ trend }) {
  show(byId("trend"), trend.length > 1 && [trendChart(trend, roomIn(byId("history"))), legend(trend)]);
}

/** Reads the table anew when the last retrain is another one or has changed. */
export async function showHistory(status) {
  waitingId = waitingDecision(status);
  const key = JSON.stringify([status.job?.id, status.job?.status, status.job?.outcome, status.lastDecision?.decisionId, status.activeModel?.modelId, waitingId]);
  if (key === shownFor) return;
  const body = await readPage();
  if (body === null) return;
  const known = new Set(body.items.map((item) => item.id));
  const older = items.slice(PAGE).filter((item) => !known.has(item.id));
  [items, nextCursor] = [[...body.items, ...older], older.length > 0 ? nextCursor : body.nextCursor];
  shownFor = key;
  draw();
}

/** Reads the next page of the table. */
export async function showEarlier() {
  const { body } = await get(`history?limit=${PAGE}&cursor=${encodeURIComponent(nextCursor)}`);
  const known = new Set(items.map((item) => item.id));
  [items, nextCursor] = [[...items, ...body.items.filter((item) => !known.has(item.id))], body.nextCursor];
  draw();
}

async function readPage() {
  try {
    return (await get(`history?limit=${PAGE}`)).body;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    show(byId("history-body"), el("p", {}, "The history cannot be read now: ", prose(error.message)));
    return null;
  }
}

function draw() {
  byId("history-more").hidden = nextCursor === null;
  show(byId("history-body"), items.length === 0
    ? el("p", {}, "Nothing yet. Every retrain will stand here, with its verdict and its scores.")
    : table("Retrains, the newest first; scores are macro-F1 on minutes that neither model has learned from", head(), items.map(row)));
}

function head() {
  return [
    ["When", "Outcome", "Started by", "Model"].map((words) => el("th", { scope: "col" }, words)),
    ["Labels", "Before", "After", "Change"].map((words) => el("th", { scope: "col", class: "right" }, words)),
    el("th", { scope: "col" }, el("span", { class: "sr-only" }, "More")),
  ];
}

function row(item) {
  const [before, after] = [item.metricsBefore?.f1, item.metricsAfter?.f1];
  const isOver = ["completed", "skipped", "failed"].includes(item.status);
  const change = isNumber(before) && isNumber(after) ? after - before : null;
  return el("tr", { "data-key": item.id },
    el("th", { scope: "row" }, whenInLines(item.startedAt)),
    el("td", {},
      el("p", { class: "badges" }, isOver ? outcomeBadges(item, waitingId) : stateBadge(item.status === "pending" ? "queued" : "running")),
      wordsOf(item) && el("p", { class: "small quiet" }, prose(sentence(wordsOf(item))))),
    el("td", { "data-label": "Started by" }, causeWords(item.cause)),
    cell("Model", item.modelId && el("span", { class: "id small nowrap" }, item.modelId)),
    cell("Labels", isNumber(item.labelCount) && whole(item.labelCount), true),
    cell("Before", isNumber(before) && score(before), true),
    cell("After", isNumber(after) && score(after), true),
    cell("Change", change !== null && difference(change), true),
    el("td", {}, links(item)),
  );
}

function wordsOf({ errorMessage, sentence: inPlainWords, reason }) {
  return errorMessage || inPlainWords || reason;
}

function cell(label, value, isNumeric = false) {
  return el("td", { "data-label": label, class: isNumeric && "right" }, value);
}

function links(item) {
  const name = `of ${item.modelId ?? item.id}`;
  if (item.reportUrl) return el("a", { href: item.reportUrl }, "Report", el("span", { class: "sr-only" }, ` ${name}`));
  return item.runId && el("a", { href: `/runs/${encodeURIComponent(item.runId)}` }, "Run", el("span", { class: "sr-only" }, ` ${name}`));
}

function legend(trend) {
  const mark = (...parts) => svg("svg", { class: "chart", width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true" }, parts);
  return el("p", { class: "legend" },
    el("span", {}, mark(svg("path", { class: "line", d: "M0 7h14" })), " macro-F1 of the running model"),
    trend.some(hasPassed) && el("span", {}, mark(svg("circle", { class: "dot", cx: 7, cy: 7, r: 6 })), " new model, passed every check"),
    el("span", {}, mark(svg("circle", { class: "hollow", cx: 7, cy: 7, r: 5 })), " new model, did not"),
  );
}
