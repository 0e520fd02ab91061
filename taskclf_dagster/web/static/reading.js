/** Reads from the server again and again, and shows why it did not answer. */

import { Refused, ServerLost } from "./api.js";
import { showConnection } from "./now.js";

/** Reads while the page is visible, never twice at once; returns the function that reads now. */
export function keepReading(read, pauseMs) {
  let timer = null;
  let isReading = false;

  async function update() {
    clearTimeout(timer);
    if (isReading) return;
    isReading = true;
    try {
      await read();
    } finally {
      isReading = false;
      plan();
    }
  }

  function plan() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(update, pauseMs());
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : update()));
  return update;
}

/** Shows that the server refused, or did not answer; what else went wrong is a fault of the page, and is thrown again. */
export function showLoss(error, { signIn, lost }) {
  if (!(error instanceof ServerLost) && !(error instanceof Refused)) {
    showConnection({ title: "This page cannot show what the server answered", detail: `Load it again. If it stays like this, report: ${error.message}` });
    throw error;
  }
  if (error instanceof Refused && error.status === 401) {
    showConnection({ title: "You are signed out", detail: signIn, link: { href: "/retrain/sign-in", words: "Sign in" } });
  } else if (error instanceof Refused) {
    showConnection({ title: error.problem.title ?? "The server refused to answer", detail: error.message });
  } else {
    showConnection({ title: "The connection to the server is lost", detail: lost });
  }
}
