/** The page of a home: asks the server for the status again and again, and shows it. */

import { get } from "./api.js";
import { byId, el, setText, show } from "./dom.js";
import { showChanges, showDecision } from "./decision.js";
import { setUpDialogs, showActions } from "./dialogs.js";
import { showEarlier, showHistory, showTrend } from "./history.js";
import { dismiss, follow, isFollowing, lookAfterLaunches } from "./launches.js";
import { showBack, showModel, showNext } from "./model.js";
import { announcement, showConnection, showNow } from "./now.js";
import { keepReading, showLoss } from "./reading.js";
import { setUpSettings, showSettings } from "./settings.js";
import { showTrials } from "./trials.js";

const SOON_MS = 2000;
const LATER_MS = 15000;
const RETRY_MS = 3000;

let status = null;
let readAt = null;
let isLost = false;

const update = keepReading(read, () => {
  const isBusy = isFollowing() || ["queued", "running"].includes(status?.state);
  return isLost ? RETRY_MS : isBusy ? SOON_MS : LATER_MS;
});

async function read() {
  try {
    const { body } = await get("status");
    const words = announcement(status, body);
    [status, readAt] = [body, new Date()];
    reconnected();
    draw();
    announce([words, ...(await lookAfterLaunches(body.progress?.runId))].filter(Boolean).join(" "));
    await showHistory(status);
  } catch (error) {
    lost(error);
  }
}

function draw() {
  showNow(status);
  showModel(status);
  showNext(status);
  showBack(status.actions);
  showDecision(status);
  showChanges(status);
  showTrend(status);
  showTrials(status);
  showActions(status, isLost);
  showSettings(status, isLost);
  setText(byId("updated"), `Read ${readAt.toLocaleTimeString()}.`);
}

function reconnected() {
  if (isLost) announce("The connection is back.");
  isLost = false;
  showConnection(null);
}

function lost(error) {
  showLoss(error, {
    signIn: "Sign in to see how this home is doing.",
    lost: `${readAt ? `What is shown here was read at ${readAt.toLocaleTimeString()}. ` : ""}This page tries again every few seconds. `
      + "If it stays like this, start the server again: `taskclf-dagster serve`.",
  });
  isLost = true;
  if (status) {
    showActions(status, true);
    showSettings(status, true);
  } else {
    show(byId("now"), el("p", { class: "quiet" }, "Nothing could be read yet."));
  }
}

function announce(words) {
  if (words) setText(byId("announcer"), words);
}

setUpDialogs(() => status.actions, (title, runId, job) => {
  follow(title, runId, job);
  announce(`${title} was launched.`);
  update();
});
setUpSettings(update);
byId("history-more").addEventListener("click", () => showEarlier().catch(lost));
byId("launches").addEventListener("click", (event) => {
  const runId = event.target.dataset.dismiss;
  if (runId) dismiss(runId);
});
addEventListener("resize", () => status && draw());
update();
