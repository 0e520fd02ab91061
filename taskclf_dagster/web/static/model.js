/** The running model, the next retrain, and the way back. */

import { PAGE } from "./api.js";
import { byId, el, prose, show } from "./dom.js";
import { counted, isNumber, score, sentence, when } from "./format.js";
import { badge } from "./words.js";

const SOURCES = {
  policy: "the inference policy names it",
  pointer: "the active pointer names it",
  last_known_good: "the chosen model cannot run; this is the last one of the history that can",
  best_by_rank: "nothing names a model; this one ranks best",
};
const CHOSEN = ["policy", "pointer"];

/** Shows the running model with its figures. */
export function showModel(status) {
  show(byId("running-body"), status.activeModel ? modelParts(status.activeModel) : noModelParts(status));
}

/** Shows when the next retrain comes, and what for. */
export function showNext({ enabled, nextTick, due, labels, daemon }) {
  show(byId("next-body"),
    !enabled && el("p", {}, badge(["pause", "warn", "Switched off"]), " Nothing starts by itself until it is switched on in the settings."),
    el("p", { class: "lead" }, nextWords({ enabled, nextTick, due, daemon })),
    labelParts(labels),
    el("dl", { class: "facts" }, fact("Next check", nextTick ? when(nextTick) : "none: the schedule is off")),
    el("details", { "data-key": "due" }, el("summary", {}, "Why then"), el("p", {}, prose(sentence(due.reason)))),
  );
}

/** Shows how to go back. */
export function showBack({ rollback }) {
  const target = rollback.targets.find((item) => item.isDefault) ?? rollback.targets[0];
  show(byId("back-body"), target
    ? [
      el("p", {}, `You can go back to ${counted(rollback.targets.length, "earlier model")}, at once and without training.`),
      el("p", {}, "The one before: ", el("span", { class: "id" }, target.modelId),
        target.activeUntil && [", active until ", when(target.activeUntil, { relative: false })], "."),
    ]
    : el("p", {}, "There is no earlier model to go back to. Every promoted model stays one, unless a rollback left it."));
}

function modelParts(model) {
  return [
    el("p", { class: "lead id" }, model.modelId),
    !CHOSEN.includes(model.source) && el("p", {}, badge(["alert", "warn", "Not the chosen model"]), ` ${sentence(SOURCES[model.source])}.`),
    el("p", {}, model.trainedAt ? ["Trained on labels up to ", when(model.trainedAt)] : "Its bundle does not say when it was trained",
      model.activeSince && [", active since ", when(model.activeSince, { relative: false })], "."),
    model.wentBackBecause && el("p", {}, `It runs again since a rollback: “${model.wentBackBecause}”.`),
    model.probation && [
      el("p", {}, badge(model.probation.harm ? ["alert", "bad", "Does harm"] : ["clock", "busy", "On probation"]),
        " until ", when(model.probation.until), ", beside the model that ran before: ", el("span", { class: "id small nowrap" }, model.probation.previousId)),
      el("p", { class: "small quiet" }, prose(model.probation.sentence)),
    ],
    figureTable(model),
    [model.fair, model.live].filter(Boolean).map((figures) => el("p", { class: "small quiet" }, figures.sentence)),
    !model.live && el("p", { class: "small quiet" }, "No live figures yet: they need labels for minutes that this model has scored."),
    el("details", { "data-key": "model" }, el("summary", {}, "More about this model"), el("dl", { class: "facts" },
      fact("Why this one", sentence(SOURCES[model.source] ?? model.summary)),
      isNumber(model.rejectThreshold) && fact("Reject threshold", `${model.rejectThreshold.toFixed(2)}; below this confidence it gives no label`),
      model.decisionId && fact("Promoted by", el("a", { href: `${PAGE}/reports/${encodeURIComponent(model.decisionId)}` }, "report of the decision")),
    )),
  ];
}

function figureTable({ fair, live }) {
  const rows = [["When it was judged", fair], ["Since then, live", live]].filter(([, figures]) => figures);
  if (rows.length === 0) return el("p", { class: "quiet" }, "There are no figures for it: it was not promoted by a decision that can be read.");
  return el("table", {},
    el("caption", {}, "Scores from 0 to 1, on labeled minutes that it had not seen"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Measured"), ["Macro-F1", "Weighted", "Accuracy"].map(
      (words) => el("th", { scope: "col", class: "right" }, words)))),
    el("tbody", {}, rows.map(([words, { macroF1, weightedF1, accuracy }]) => el("tr", {},
      el("th", { scope: "row" }, words), [macroF1, weightedF1, accuracy].map((value) => el("td", { class: "right" }, score(value)))))),
  );
}

function noModelParts({ problems, labels }) {
  if (problems.some((problem) => problem.kind === "registry")) {
    return el("p", {}, "It cannot be said which model runs: the registry of models is damaged. What to do stands above.");
  }
  return [
    el("p", { class: "lead" }, "No model runs yet."),
    el("p", {}, "The first model that passes every check will be the first to run. It learns from your labels: label some stretches of your days in "
      + "taskclf, then press Retrain now."),
    el("p", { class: "small quiet" }, sentence(labels.summary)),
  ];
}

function nextWords({ enabled, nextTick, due, daemon }) {
  if (!daemon.running) return "Not before Dagster's daemon runs again.";
  if (!enabled || !nextTick) return "Only when you press Retrain now.";
  if (due.isDue) return ["Due now; it starts ", when(nextTick), " at the latest."];
  return due.at ? ["Due ", when(due.at), ", or earlier if enough labels are new."] : "When enough labels are new.";
}

function labelParts({ since: arrived, needed, summary }) {
  const words = labelWords(arrived, needed);
  return el("div", { class: "labels" },
    el("p", { id: "labels-words" }, words),
    isNumber(arrived) && el("progress", { "aria-labelledby": "labels-words", max: needed, value: Math.min(arrived, needed) }),
    summary && el("p", { class: "small quiet" }, sentence(summary)),
  );
}

function labelWords(arrived, needed) {
  if (!isNumber(arrived)) return "New labels cannot be counted now.";
  const start = `${needed} start a retrain.`;
  return arrived >= needed ? `${counted(arrived, "label span")} are new; ${start}` : `${arrived} of ${needed} label spans are new; ${start}`;
}

function fact(name, value) {
  return [el("dt", {}, name), el("dd", {}, value)];
}
