/** The challengers on trial beside the running model. */

import { byId, el, prose, show, table } from "./dom.js";
import { counted, difference, isNumber, whenInLines } from "./format.js";
import { badge } from "./words.js";

const STATES = {
  waits: ["clock", "busy", "On trial"],
  promoted: ["check", "good", "Promoted"],
  awaiting_approval: ["clock", "warn", "Waits for approval"],
  worse: ["cross", "bad", "Worse"],
};
const ENDED = ["dash", "", "Ended"];

/** Shows each trial; the section is hidden while there is none. */
export function showTrials({ trials = [] }) {
  byId("trials").hidden = trials.length === 0;
  show(byId("trials-body"),
    el("p", {}, "These models could not be judged well enough when they were trained. They are compared with the running model on labels that come "
      + "later. taskclf never uses them before they are promoted. One that is shown to be better is judged again by every check; one that is worse leaves."),
    table("Change of the average score beside the running model, with bounds that hold at every look",
      ["Model", "State", "Labels so far", "Change", "Since", "Until"].map((words) => el("th", { scope: "col" }, words)),
      trials.map(row)),
  );
}

function row(trial) {
  const change = isNumber(trial.difference)
    ? [el("span", { class: "nowrap" }, difference(trial.difference)), " ",
      el("span", { class: "small quiet nowrap" }, `${difference(trial.lower)} to ${difference(trial.upper)}`)]
    : "not known yet";
  return el("tr", {},
    el("th", { scope: "row" }, el("span", { class: "id small nowrap" }, trial.modelId)),
    el("td", {}, badge(STATES[trial.state] ?? ENDED), el("p", { class: "small quiet" }, prose(trial.sentence)),
      trial.serving && el("p", { class: "small quiet" }, prose(trial.serving)),
      trial.decisionId && el("a", { href: `/retrain/reports/${trial.decisionId}` }, "report of the decision")),
    el("td", { "data-label": "Labels so far" }, `${counted(trial.windows, "minute")} on ${counted(trial.days, "day")}`),
    el("td", { "data-label": "Change" }, change),
    el("td", { "data-label": "Since" }, whenInLines(trial.since)),
    el("td", { "data-label": "Until" }, whenInLines(trial.until)),
  );
}
