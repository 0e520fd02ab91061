/** The page /retrain of a server for many homes: all of them at a glance, those that need a person first. */

import { PAGE, get } from "./api.js";
import { byId, el, prose, setText, show, table } from "./dom.js";
import { counted, sentence, when, whole } from "./format.js";
import { banner, showConnection } from "./now.js";
import { keepReading, showLoss } from "./reading.js";
import { attentionBadge, badge, stateBadge, verdictBadges } from "./words.js";

const SOON_MS = 5000;
const LATER_MS = 15000;
const RETRY_MS = 3000;
const BUSY = ["queued", "running"];

const KINDS = [
  ["all", "All", () => true],
  ["attention", "Needs attention", (home) => home.attention !== null],
  ["broken", "Broken", (home) => home.attention === "broken"],
  ["failed", "Failed", (home) => home.attention === "failed"],
  ["waiting", "Waits for approval", (home) => home.attention === "waiting"],
  ["busy", "Retraining", isBusy],
];

const ALWAYS = ["all", "attention"];

let overview = null;
let readAt = null;
let isLost = false;

const update = keepReading(read, () => (isLost ? RETRY_MS : overview?.homes.some(isBusy) ? SOON_MS : LATER_MS));

async function read() {
  try {
    const { body } = await get("homes");
    const words = announcement(overview, body);
    [overview, readAt] = [body, new Date()];
    if (isLost) announce("The connection is back.");
    isLost = false;
    showConnection(null);
    draw();
    if (words) announce(words);
  } catch (error) {
    lost(error);
  }
}

function draw() {
  show(byId("home-marks"), overview.readOnly && badge(["info", "", "Read-only"]));
  setText(byId("homes-count"), counted(overview.homes.length, "home"));
  show(byId("problems"), banners(overview));
  drawKinds();
  drawTable();
  setText(byId("updated"), `Read ${readAt.toLocaleTimeString()}.`);
}

function drawKinds() {
  const chosen = chosenKind();
  const counts = KINDS.map(([kind, words, holds]) => [kind, words, overview.homes.filter(holds).length]);
  const shown = counts.filter(([kind, , count]) => count > 0 || ALWAYS.includes(kind) || kind === chosen);
  show(byId("filter-kinds"), shown.map(([kind, words, count]) => el("label", { class: "kind", "data-key": kind },
    el("input", { type: "radio", name: "kind", value: kind, checked: kind === chosen }),
    el("span", {}, `${words} (${count})`),
  )));
}

function drawTable() {
  const homes = overview.homes.filter(isChosen());
  setText(byId("shown"), homes.length === overview.homes.length ? "" : `${homes.length} of ${counted(overview.homes.length, "home")} shown.`);
  show(byId("homes-body"), homes.length === 0
    ? el("p", {}, overview.homes.length === 0 ? "The homes file lists no home yet. Each one that is added appears here by itself." : "No home matches. Change what is looked for, or show all.")
    : table("Homes, those that need attention first", head(), homes.map(row)));
}

function head() {
  return ["Home", "State", "Running model", "Last verdict", "Next retrain"].map((words) => el("th", { scope: "col" }, words));
}

function row(home) {
  return el("tr", { "data-key": home.name },
    el("th", { scope: "row" }, el("a", { href: `${PAGE}/homes/${encodeURIComponent(home.name)}` }, home.name)),
    el("td", {}, el("p", { class: "badges" }, home.attention ? attentionBadge(home.attention) : null, isBusy(home) || !home.attention ? stateBadge(home.state) : null),
      el("p", {}, prose(home.sentence), home.runSince && [" Since ", when(home.runSince), "."]),
      home.problems > 1 && el("p", { class: "quiet" }, `${counted(home.problems - 1, "more problem")} on its page.`)),
    el("td", { "data-label": "Running model" }, home.activeModel
      ? [el("span", { class: "id" }, home.activeModel), home.trainedAt && el("p", { class: "quiet" }, "trained ", when(home.trainedAt))]
      : el("span", { class: "quiet" }, "none")),
    el("td", { "data-label": "Last verdict" }, home.outcome
      ? [el("p", { class: "badges" }, verdictBadges(home.outcome, { isActive: home.moved, isWaiting: home.attention === "waiting" })), el("p", { class: "quiet" }, when(home.decidedAt))]
      : el("span", { class: "quiet" }, "none yet")),
    el("td", { "data-label": "Next retrain" }, nextParts(home)),
  );
}

function nextParts({ isDue, dueAt, nextTick, labelsSince, labelsNeeded }) {
  if (!nextTick && labelsSince === null) return el("span", { class: "quiet" }, "not known");
  const words = !nextTick ? "Only by hand: nothing is launched by itself"
    : isDue ? ["Due: ", when(nextTick)] : dueAt ? ["Not before ", when(dueAt), ", or with new labels"] : "When enough labels are new";
  return [
    el("p", {}, words),
    labelsSince !== null && el("p", { class: "quiet" }, `${whole(labelsSince)} of ${whole(labelsNeeded)} label spans are new`),
  ];
}

function banners({ problems, daemon, readOnly, user }) {
  return [
    problems.map((text) => banner("bad", "alert", "The list of homes is not complete", sentence(text))),
    !daemon.running && banner("warn", "alert", "Nothing starts by itself now", sentence(daemon.sentence)),
    readOnly && banner("info", "info", "This page is read-only", "The server was started to show and not to change."),
    user && el("p", { class: "small quiet", "data-key": "user" }, `Signed in as ${user}. What you change is recorded under this name.`),
  ];
}

function isBusy(home) {
  return BUSY.includes(home.state);
}

function chosenKind() {
  return document.querySelector("#filter-kinds input:checked")?.value ?? new URLSearchParams(location.search).get("show") ?? "all";
}

/** Returns a function that tells which homes the filter lets through. */
function isChosen() {
  const wanted = byId("filter-text").value.trim().toLowerCase();
  const [, , holds] = KINDS.find(([kind]) => kind === chosenKind()) ?? KINDS[0];
  return (home) => holds(home) && [home.name, home.home, home.activeModel ?? "", home.sentence].some((text) => text.toLowerCase().includes(wanted));
}

/** Returns the words of what changed for the worse, for a screen reader; empty where nothing did. */
function announcement(before, after) {
  if (before === null) return "";
  const known = new Map(before.homes.map((home) => [home.name, home.attention]));
  const worse = after.homes.filter((home) => home.attention && known.has(home.name) && known.get(home.name) !== home.attention);
  if (worse.length === 0) return "";
  return worse.length === 1 ? `${worse[0].name}: ${worse[0].sentence}` : `${counted(worse.length, "more home")} need attention.`;
}

function lost(error) {
  showLoss(error, {
    signIn: "Sign in to see the homes.",
    lost: "This page tries again every few seconds. If it stays like this, start the server again.",
  });
  isLost = true;
  if (!overview) show(byId("homes-body"), el("p", { class: "quiet" }, "Nothing could be read yet."));
}

function announce(words) {
  setText(byId("announcer"), words);
}

byId("filter").addEventListener("input", () => overview && drawTable());
byId("filter").addEventListener("submit", (event) => event.preventDefault());
update();
