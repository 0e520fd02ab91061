/** What was launched from this page, followed until it ends. */

import { Refused, ServerLost, get } from "./api.js";
import { showLaunches } from "./now.js";
import { sentence } from "./format.js";

const OVER = { completed: "good", skipped: "good", failed: "bad" };
const ENDS = {
  retrain: { good: "The retrain is done", bad: "The retrain failed" },
  approve: { good: "The model was approved", bad: "The approval failed" },
  rollback: { good: "Rolled back", bad: "The rollback failed" },
};

let launches = [];

/** Follows a launch from now on. */
export function follow(title, runId, job) {
  launches = [...launches, { title: `${title} was launched`, runId, job, kind: "busy", message: "It waits for its turn; that takes a few seconds." }];
  showLaunches(launches);
}

/** Returns true while something that was launched here has not ended. */
export function isFollowing() {
  return launches.some((launch) => launch.kind === "busy");
}

/** Forgets a launch that has ended. */
export function dismiss(runId) {
  launches = launches.filter((launch) => launch.runId !== runId);
  showLaunches(launches);
}

/** Asks how far each launch is; returns the words of those that ended just now. The run whose progress is shown needs no words of its own. */
export async function lookAfterLaunches(shownRunId) {
  const ended = [];
  for (const launch of launches.filter((one) => one.kind === "busy")) {
    const run = await stateOf(launch.runId);
    if (!run) continue;
    const kind = OVER[run.status];
    launch.message = sentence(run.message) || launch.message;
    if (!kind) continue;
    Object.assign(launch, { kind, title: ENDS[launch.job][kind], message: sentence(run.message) });
    ended.push(`${launch.title}. ${launch.message}`);
  }
  showLaunches(launches.filter((launch) => launch.kind !== "busy" || launch.runId !== shownRunId));
  return ended;
}

async function stateOf(runId) {
  try {
    return (await get(`runs/${encodeURIComponent(runId)}`)).body;
  } catch (error) {
    if (error instanceof ServerLost) throw error;
    if (error instanceof Refused) return null;
    throw error;
  }
}
