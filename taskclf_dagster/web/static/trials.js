/** The challengers on trial beside the running model. */

import { byId, el, prose, show, table } from "./dom.js";
import { counted, isNumber, when } from "./format.js";
import { badge } from "./words.js";

const STATES = {
  waits: ["pause", "info", "Goes on"],
  promoted: ["check", "good", "Promoted"],
  awaiting_approval: ["pause", "warn", "Waits for approval"],
  worse: ["alert", "bad", "Worse"],
};
const ENDED = ["pause", "info", "Ended"];

/** Shows each trial; the section is hidden while there is none. */
export function showTrials({ trials = [] }) {
  byId("trials").hidden = trials.length === 0;
  show(byId("trials-body"),
    el("p", {}, "These models could not be judged well enough when they were trained. They are compared with the running model on labels that come "
      + "later. taskclf never uses them before they are promoted."),
    table("Change of the average score beside the running model, with bounds that hold at every look",
      ["Model", "State", "Labels so far", "Change", "Until"].map((words) => el("th", { scope: "col" }, words)),
      trials.map(row)),
  );
}

function row(trial) {
  const change = isNumber(trial.difference)
    ? `${signed(trial.difference)} (${signed(trial.lower)} to ${signed(trial.upper)})`
    : "not known yet";
  return el("tr", {},
    el("th", { scope: "row", class: "id" }, trial.modelId),
    el("td", { "data-label": "State" }, badge(STATES[trial.state] ?? ENDED), el("p", { class: "small quiet" }, prose(trial.sentence)),
      trial.serving && el("p", { class: "small quiet" }, prose(trial.serving)),
      trial.decisionId && el("a", { href: `/retrain/reports/${trial.decisionId}` }, "report of the decision")),
    el("td", { "data-label": "Labels so far" }, `${counted(trial.windows, "minute")} on ${counted(trial.days, "day")}`),
    el("td", { "data-label": "Change" }, change),
    el("td", { "data-label": "Until" }, when(trial.until, { relative: false })),
  );
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}
