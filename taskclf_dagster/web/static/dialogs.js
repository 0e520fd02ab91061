/** The three confirmations: what will happen, what has to be chosen, and the launch. */

import { Refused, ServerLost, change } from "./api.js";
import { allow, byId, el, isAllowed, prose, setText, show } from "./dom.js";
import { score, when } from "./format.js";

const WORKING = "Sending …";

/** Sets up the dialogs. `actions()` gives what is allowed now; `launched(title, runId)` is called after a launch. */
export function setUpDialogs(actions, launched) {
  setUp("retrain", {
    open: () => {
      byId("retrain-force").checked = false;
      byId("retrain-dry").checked = false;
      setText(byId("retrain-effect"), actions().trigger.effect);
    },
    send: async () => {
      const form = { force: byId("retrain-force").checked, dryRun: byId("retrain-dry").checked };
      const { body } = await change("POST", "trigger", form);
      launched(form.dryRun ? "Dry run" : "Retrain", body.runId ?? body.id, "retrain");
    },
  });
  setUp("approve", {
    open: () => {
      const { modelId, decisionId, effect, asJudged } = actions().approve;
      byId("approve-judged").checked = false;
      byId("approve-judged-part").hidden = !asJudged;
      byId("approve-dialog").dataset.decision = decisionId;
      show(byId("approve-facts"), el("dt", {}, "Model"), el("dd", { class: "id" }, modelId), el("dt", {}, "Decision"), el("dd", { class: "id" }, decisionId));
      setText(byId("approve-effect"), effect);
    },
    check: () => byId("approve-judged-part").hidden || isConfirmed(byId("approve-judged")),
    send: async () => {
      const form = { decisionId: byId("approve-dialog").dataset.decision, asJudged: byId("approve-judged").checked };
      const { body } = await change("POST", "approve", form);
      launched("Approval", body.runId, "approve");
    },
  });
  setUp("rollback", {
    open: () => openRollback(actions().rollback),
    check: hasReason,
    send: async () => {
      const { body } = await change("POST", "rollback", { to: chosenTarget().value, reason: byId("rollback-reason").value.trim() });
      launched("Rollback", body.runId, "rollback");
    },
  });
  byId("rollback-targets").addEventListener("change", showEffect);
  byId("rollback-reason").addEventListener("input", () => markReason(""));
}

/** Makes each button usable, or not with the reason. Nothing is allowed while the server does not answer. */
export function showActions({ actions, lastDecision }, lost) {
  const reason = lost ? "The server does not answer." : null;
  const say = (name, action) => allow(byId(`${name}-button`), action.allowed && !lost, reason ?? action.reason);
  say("retrain", actions.trigger);
  say("approve", actions.approve.asJudged ? { allowed: true } : actions.approve);
  say("rollback", actions.rollback);
  byId("approve-part").hidden = !actions.approve.decisionId;
  const isEarlier = lastDecision && lastDecision.decisionId !== actions.approve.decisionId;
  setText(byId("approve-title"), isEarlier ? "The model of an earlier decision waits for your approval:" : "A model waits for your approval:");
  setText(byId("approve-model"), actions.approve.modelId ?? "");
}

/** Returns the words of an error for the person who pressed a button. */
export function errorWords(error) {
  if (error instanceof ServerLost) return "The server does not answer, so nothing is known to have happened. Look at the history before you try again.";
  if (!(error instanceof Refused)) throw error;
  return error.message;
}

function setUp(name, { open, send, check = () => true }) {
  const [button, dialog] = [byId(`${name}-button`), byId(`${name}-dialog`)];
  const [form, trouble, submit] = [dialog.querySelector("form"), dialog.querySelector(".problem"), dialog.querySelector("[type=submit]")];
  const words = submit.textContent;
  button.addEventListener("click", () => {
    if (!isAllowed(button)) return;
    show(trouble);
    open();
    dialog.showModal();
  });
  const close = dialog.querySelector("[data-close]");
  close.addEventListener("click", () => isAllowed(submit) && dialog.close());
  // What is on its way can no longer be called back, so the dialog stays until the answer is there.
  dialog.addEventListener("cancel", (event) => isAllowed(submit) || event.preventDefault());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!isAllowed(submit) || !check()) return;
    for (const one of [submit, close]) one.setAttribute("aria-disabled", "true");
    setText(submit, WORKING);
    show(trouble);
    try {
      await send();
      dialog.close();
    } catch (error) {
      show(trouble, el("p", { class: "banner banner-bad" }, el("span", {}, prose(errorWords(error)))));
      if (!dialog.open) dialog.showModal(); // chromium closes it at a second Escape, whatever the page says
    } finally {
      for (const one of [submit, close]) one.removeAttribute("aria-disabled");
      setText(submit, words);
    }
  });
}

function isConfirmed(box) {
  if (!box.checked) box.focus();
  return box.checked;
}

function openRollback({ targets }) {
  byId("rollback-reason").value = "";
  markReason("");
  byId("rollback-targets").replaceChildren(...targets.map((target, position) => el("div", { class: "choice target" },
    el("input", {
      type: "radio", name: "to", id: `target-${position}`, value: target.modelId, "data-effect": target.effect,
      checked: target.isDefault || targets.length === 1, "aria-describedby": `target-${position}-hint`,
    }),
    el("label", { for: `target-${position}` }, el("span", { class: "id" }, target.modelId), target.isDefault && " (the one before)"),
    el("p", { class: "hint", id: `target-${position}-hint` },
      target.trainedAt && ["Trained ", when(target.trainedAt), ". "],
      target.activeUntil ? ["Active ", target.activeFrom && ["from ", when(target.activeFrom, { relative: false }), " "], "until ", when(target.activeUntil, { relative: false }), ". "] : "It was never active. ",
      `Validation macro-F1 ${score(target.macroF1)}.`),
  )));
  if (!chosenTarget()) document.querySelector("#rollback-targets input").checked = true;
  showEffect();
}

function chosenTarget() {
  return document.querySelector("#rollback-targets input:checked");
}

function showEffect() {
  setText(byId("rollback-effect"), chosenTarget().dataset.effect);
}

function hasReason() {
  if (byId("rollback-reason").value.trim() !== "") return true;
  markReason("Say why, in a few words: it is kept in the history.");
  byId("rollback-reason").focus();
  return false;
}

function markReason(words) {
  setText(byId("rollback-reason-error"), words);
  byId("rollback-reason").toggleAttribute("aria-invalid", false);
  if (words) byId("rollback-reason").setAttribute("aria-invalid", "true");
}
