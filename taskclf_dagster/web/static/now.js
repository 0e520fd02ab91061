/** What is going on: state and progress, what is wrong, and what became of the buttons that were pressed. */

import { byId, el, icon, prose, show } from "./dom.js";
import { counted, duration, isNumber, sentence, since } from "./format.js";
import { badge, outcomeBadges, stateBadge, stateWords, waitingDecision } from "./words.js";

const MARKS = { busy: "run", good: "check", bad: "alert" };

/** Shows state, progress, problems and marks of the home. */
export function showNow(status) {
  show(byId("home-marks"), status.readOnly && badge(["info", "", "Read-only"]));
  show(byId("now"), status.progress ? progressParts(status) : stateParts(status));
  show(byId("problems"), problemBanners(status));
}

/** Shows what became of the changes that were asked for here. */
export function showLaunches(launches) {
  show(byId("launches"), launches.map((launch) => el("div", { class: `launch launch-${launch.kind}`, "data-key": launch.runId },
    icon(MARKS[launch.kind]),
    el("div", {},
      el("p", {}, el("strong", {}, launch.title)),
      launch.message && el("p", {}, prose(launch.message)),
      el("p", { class: "small" }, el("a", { href: `/runs/${encodeURIComponent(launch.runId)}` }, "Run in Dagster")),
    ),
    launch.kind !== "busy" && el("button", { type: "button", class: "plain", "data-dismiss": launch.runId }, "Close"),
  )));
}

/** Shows that the server cannot be reached, or that it refuses to answer; null: all is well. */
export function showConnection(trouble) {
  show(byId("connection"), trouble && el("div", { class: "banner banner-bad" }, icon("alert"), el("div", {},
    el("p", {}, el("strong", {}, trouble.title)),
    el("p", {}, prose(trouble.detail)),
    trouble.link && el("p", {}, el("a", { href: trouble.link.href }, trouble.link.words)),
  )));
}

function stateParts(status) {
  const { job } = status;
  return [
    el("p", { class: "badges" }, job ? ["Last retrain:", outcomeBadges(job, waitingDecision(status))] : stateBadge(status.state),
      job?.completedAt && el("span", { class: "quiet" }, since(job.completedAt))),
    el("p", { class: "lead" }, prose(sentence(status.reason))),
    status.state === "failed" && el("p", { class: "quiet" }, "The running model stays as it was."),
    runLink(job?.runId),
  ];
}

function progressParts({ state, reason, progress }) {
  const { steps, stepsDone, round, rounds, secondsElapsed, secondsLeft } = progress;
  const step = state === "running" ? Math.min(steps, stepsDone + 1) : 0;
  // By time where earlier runs tell it: steps differ in length, and rounds are counted anew for each model that is trained.
  const done = isNumber(secondsLeft) ? secondsElapsed / (secondsElapsed + secondsLeft || 1) : stepsDone / (steps || 1);
  return [
    el("p", { class: "badges" }, stateBadge(state), el("span", { class: "quiet" }, state === "queued" ? "launched " : "started ", since(progress.since))),
    el("p", { class: "lead" }, sentence(progress.stepTitle || reason)),
    el("progress", { "aria-label": "Progress of the retrain", max: 1, value: state === "running" ? done.toFixed(3) : 0 }),
    el("p", { class: "quiet number" }, [
      step > 0 && `Step ${step} of ${steps}`,
      rounds && `round ${round ?? 0} of ${rounds}`,
      `${duration(secondsElapsed)} so far`,
      isNumber(secondsLeft) ? timeLeft(secondsLeft) : "time left unknown: it is estimated from earlier runs",
    ].filter(Boolean).join(" · ")),
    runLink(progress.runId),
  ];
}

function timeLeft(seconds) {
  return seconds < 3 ? "almost done" : `about ${duration(seconds)} left`;
}

function runLink(runId) {
  return runId && el("p", { class: "small" }, el("a", { href: `/runs/${encodeURIComponent(runId)}` }, "This run in Dagster"));
}

function problemBanners({ problems, warnings, daemon, readOnly, user }) {
  return [
    problems.map((problem) => banner("bad", "alert", problem.title, sentence(problem.detail), problem.fix && `What to do: ${problem.fix}`)),
    !daemon.running && banner("warn", "alert", "Nothing starts by itself now", sentence(daemon.sentence)),
    readOnly && banner("info", "info", "This page is read-only", "The server was started to show and not to change. Every button says so."),
    warnings.length > 0 && el("div", { class: "banner banner-warn", "data-key": "warnings" }, icon("alert"), el("div", {},
      el("p", {}, el("strong", {}, counted(warnings.length, "warning"))),
      el("ul", {}, warnings.map((text) => el("li", {}, prose(sentence(text))))),
    )),
    user && el("p", { class: "small quiet", "data-key": "user" }, `Signed in as ${user}. What you change is recorded under this name.`),
  ];
}

/** Returns a box with a title and lines. */
export function banner(kind, image, title, ...lines) {
  return el("div", { class: `banner banner-${kind}`, "data-key": title }, icon(image), el("div", {},
    el("p", {}, el("strong", {}, title)), lines.filter(Boolean).map((line) => el("p", {}, prose(line))),
  ));
}

/** Returns the words of a change of state, for a screen reader; empty where nothing is worth saying. */
export function announcement(before, after) {
  if (before === null) return "";
  if (before.state !== after.state) return `${stateWords(after.state)}. ${sentence(after.progress?.stepTitle ?? after.reason)}`;
  const [one, other] = [before.progress?.stepTitle, after.progress?.stepTitle];
  return other && one !== other ? other : "";
}
