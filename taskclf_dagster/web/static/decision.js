/** The last decision: the verdict, the gates in words, and the comparison of both models. */

import { byId, el, icon, prose, roomIn, show, table } from "./dom.js";
import { intervalChart } from "./charts.js";
import { counted, difference, isNumber, score, when } from "./format.js";
import { badge, gateWords, verdictBadges } from "./words.js";

const OPEN = ["FAIL", "INCONCLUSIVE", "ERROR"];

/** Shows the verdict, and each gate that stood in the way with what would help. */
export function showDecision({ lastDecision, trials = [] }) {
  show(byId("decision-body"), lastDecision ? verdictParts(lastDecision, trials) : el("p", {},
    "There is no decision yet. Each retrain ends with one: the new model is promoted, or it is said here which check it failed and what would help."));
  show(byId("gates-body"), lastDecision && gateParts(lastDecision));
}

/** Shows what the last decision changed, or would have changed. */
export function showChanges({ lastDecision, activeModel }) {
  show(byId("changes-body"), lastDecision ? changeParts(lastDecision, activeModel) : el("p", {},
    "Nothing yet. After the second model, both are compared here on minutes that neither has learned from."));
}

function verdictParts(decision, trials) {
  const trial = trials.find(({ modelId, isOpen }) => isOpen && modelId === decision.modelId);
  return [
    el("p", { class: "badges" }, verdictBadges(decision.verdict, { isDry: decision.dryRun, isActive: isNumber(decision.moved), isWaiting: decision.waits }), el("span", { class: "quiet" }, when(decision.asOf))),
    el("p", { class: "lead" }, prose(decision.sentence)),
    el("p", { class: "small" }, "Model ", el("span", { class: "id" }, decision.modelId), decision.reportUrl && [" · ", reportLink(decision.reportUrl, "Full report")]),
    trial && el("p", {}, badge(["clock", "busy", "On trial"]), " beside the running model until ", when(trial.until), ": ", reportLink("#trials", "what it shows so far")),
  ];
}

function gateParts({ gates }) {
  const open = gates.filter((gate) => OPEN.includes(gate.status));
  return [
    open.length > 0 && el("ul", { class: "gates", "aria-label": "Checks that it did not pass" }, open.map(gateItem)),
    gates.length > 0 && el("details", { "data-key": "gates" },
      el("summary", {}, `All ${counted(gates.length, "check")}`),
      table("Every check of the last decision", ["Check", "Verdict", "In words"].map((words) => el("th", { scope: "col" }, words)), gates.map(gateRow)),
    ),
  ];
}

function gateItem(gate) {
  const [image, kind, words] = gateWords(gate.status);
  return el("li", { class: `gate ${kind}`, "data-key": gate.name }, icon(image),
    el("p", {}, el("strong", {}, gate.title), el("span", { class: "quiet" }, ` · ${words.toLowerCase()}`)),
    el("p", {}, prose(gate.sentence)),
    gate.help && el("p", {}, el("strong", {}, "What would help: "), prose(gate.help)),
  );
}

function gateRow(gate) {
  const [image, kind, words] = gateWords(gate.status);
  return el("tr", {},
    el("th", { scope: "row" }, gate.title),
    el("td", {}, el("span", { class: `badge ${kind}`.trim() }, icon(image), words)),
    el("td", {}, prose(gate.sentence)),
  );
}

function changeParts(decision, activeModel) {
  const { comparison } = decision;
  return [
    el("p", { class: "lead" }, effectWords(decision, activeModel)),
    comparison ? comparisonParts(decision) : el("p", {}, "There was no running model to compare with, so no before and after."),
    decision.reportUrl && el("p", {}, reportLink(`${decision.reportUrl}#changes`, "What changes for you, by app and label, stands in the report")),
  ];
}

function effectWords({ moved, modelId, dryRun, waits }, activeModel) {
  if (isNumber(moved)) {
    return activeModel && activeModel.modelId !== modelId
      ? "The new model was promoted then. By now another model runs." : "The new model was promoted, and labels your minutes since then.";
  }
  if (dryRun) return "Nothing: it was a dry run.";
  return waits ? "Nothing yet: the new model waits for approval." : "Nothing: the model that ran before still labels your minutes.";
}

function comparisonParts({ comparison, moved }) {
  const { before, after, difference: change, low, high, significance, windows, changes } = comparison;
  const [right, wrong] = isNumber(moved) ? ["became right", "became wrong"] : ["would become right", "would become wrong"];
  return [
    el("div", { class: "figures" },
      figure(score(before), "running model"), figure(score(after), "new model"),
      figure(difference(change), low < high ? `difference, ${percent(1 - significance)} interval ${difference(low)} to ${difference(high)}` : "difference"),
    ),
    isNumber(change) && intervalChart(comparison, comparison.sentence, roomIn(byId("changes"))),
    el("p", {}, comparison.sentence),
    changes && flipWords(counted(windows, "labeled minute"), changes, right, wrong),
    el("p", { class: "small quiet" }, `Macro-F1, on minutes that neither model has learned from.`
      + (comparison.detectable >= 0.0005 ? ` So many days can show a difference of ${comparison.detectable.toFixed(3)} or more.` : "")),
  ];
}

function flipWords(all, { becameRight, becameWrong }, right, wrong) {
  if (becameRight + becameWrong === 0) return el("p", {}, `Of ${all}, none becomes right or wrong by it.`);
  return el("p", {}, `Of ${all}, `, el("strong", { class: "good-text" }, `${counted(becameRight, "minute")} ${right}`), " and ",
    el("strong", { class: "bad-text" }, `${counted(becameWrong, "minute")} ${wrong}`), ".");
}

function figure(value, words) {
  return el("p", { class: "figure" }, el("b", {}, value), el("span", {}, words));
}

function percent(share) {
  return `${Number((share * 100).toFixed(1))} %`;
}

function reportLink(url, words) {
  return el("a", { href: url }, words);
}
