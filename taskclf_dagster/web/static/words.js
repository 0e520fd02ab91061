/** The few fixed words of the page: states, verdicts and gates as badges. Sentences come from the server. */

import { el, icon } from "./dom.js";
import { sentence } from "./format.js";

const STATES = {
  idle: ["dash", "", "Nothing has run yet"],
  queued: ["clock", "busy", "Waiting to start"],
  running: ["run", "busy", "Retraining now"],
  completed: ["check", "good", "Last retrain completed"],
  skipped: ["dash", "", "Last retrain skipped"],
  failed: ["alert", "bad", "Last retrain failed"],
};

const VERDICTS = {
  PROMOTE: ["check", "good", "Promoted"],
  AWAITING_APPROVAL: ["clock", "warn", "Waits for approval"],
  REJECT: ["cross", "bad", "Not promoted"],
  HOLD: ["pause", "warn", "On hold"],
  SKIP: ["dash", "", "Skipped"],
  FAILED: ["alert", "bad", "Failed"],
};

const WOULD = {
  PROMOTE: ["check", "good", "Would be promoted"],
  AWAITING_APPROVAL: ["check", "good", "Would wait for approval"],
};
const APPROVED = ["check", "good", "Approved"];
const NOT_APPROVED = ["dash", "", "Was not approved"];

const ATTENTION = {
  broken: ["alert", "bad", "Broken"],
  failed: ["cross", "bad", "Last retrain failed"],
  waiting: ["clock", "warn", "Waits for approval"],
};

const GATES = {
  PASS: ["check", "good", "Passed"],
  FAIL: ["cross", "bad", "Failed"],
  INCONCLUSIVE: ["unknown", "warn", "Cannot be judged"],
  ERROR: ["alert", "bad", "Error"],
  NOT_APPLICABLE: ["dash", "", "Not applicable"],
};

const CAUSES = {
  new_labels: "New labels",
  cadence: "Schedule",
  model_age: "Age of the model",
  drift: "Drift",
  performance: "It did worse",
  page: "This page",
  api: "API",
  "command line": "Command line",
  "by hand": "By hand",
};

const OUTCOMES = { skipped: "SKIP", failed: "FAILED", completed: "COMPLETED" };

const DRY_RUN = " (dry run)";

/** Returns the badge of the state of retraining. */
export function stateBadge(state) {
  return badge(STATES[state] ?? ["unknown", "", sentence(state)]);
}

/** Returns the badge of why a home needs a person. */
export function attentionBadge(attention) {
  return badge(ATTENTION[attention] ?? ["alert", "warn", sentence(attention)]);
}

/** Returns the words of the state of retraining. */
export function stateWords(state) {
  return (STATES[state] ?? [null, null, sentence(state)])[2];
}

/** Returns the badges of a verdict or an outcome such as `REJECT (dry run)`. What passed every gate may wait, or have become active. */
export function verdictBadges(outcome, { isDry = String(outcome).endsWith(DRY_RUN), isActive = false, isWaiting = false } = {}) {
  const verdict = String(outcome).replace(DRY_RUN, "");
  const known = VERDICTS[verdict] ?? ["unknown", "", sentence(verdict.toLowerCase().replaceAll("_", " "))];
  const special = isDry ? WOULD[verdict] : verdict === "AWAITING_APPROVAL" && !isWaiting && (isActive ? APPROVED : NOT_APPROVED);
  return [badge(special || known), isDry && badge(["info", "", "Dry run"])];
}

/** Returns the badges of a retrain that has ended. */
export function outcomeBadges({ outcome, status, newVersion, decisionId }, waitingId) {
  const isWaiting = decisionId !== null && decisionId === waitingId;
  return verdictBadges(outcome ?? OUTCOMES[status], { isActive: Boolean(newVersion), isWaiting });
}

/** Returns the decision that waits for approval; null if none does. */
export function waitingDecision({ actions, lastDecision }) {
  return actions.approve.decisionId ?? (lastDecision?.waits ? lastDecision.decisionId : null);
}

/** Returns icon, kind and words of a gate's status. */
export function gateWords(status) {
  return GATES[status] ?? ["unknown", "", sentence(status)];
}

/** Returns why a retrain was launched. */
export function causeWords(cause) {
  return cause ? (CAUSES[cause] ?? sentence(cause.replaceAll("_", " "))) : "By hand";
}

/** Returns a badge from an icon, a kind (good, warn, bad, busy or none) and words. */
export function badge([image, kind, words]) {
  return el("span", { class: `badge ${kind}`.trim() }, icon(image), words);
}
