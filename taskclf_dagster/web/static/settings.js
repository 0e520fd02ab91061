/** The settings: what they are, a form to change them, and who changed what. */

import { Refused, change, get } from "./api.js";
import { errorWords } from "./dialogs.js";
import { allow, byId, el, isAllowed, prose, show, table } from "./dom.js";
import { when } from "./format.js";
import { GATES, SCHEDULING, fieldText, inOrder, settingWords, shownValue } from "./settings_words.js";

const STALE = 412;
const VIA = { api: "page or API", "command line": "command line", file: "an editor" };

let config = null;
let etag = null;
let newer = null; // what somebody else saved since the form was drawn; it replaces the two above with the form, never before
let isSending = false;

/** Sets up the form. `changed()` is called after a change. */
export function setUpSettings(changed) {
  const form = byId("settings-form");
  byId("settings-details").addEventListener("toggle", (event) => event.target.open && !edits().length && load());
  byId("settings-reset").addEventListener("click", () => {
    if (newer) [config, etag] = [newer.body, newer.etag];
    drawFields();
    drawChanges();
    clear();
  });
  form.addEventListener("input", (event) => markField(event.target.dataset.key, ""));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isAllowed(byId("settings-save")) && !isSending) save(changed);
  });
}

/** Shows the main settings in a line, and whether they can be changed now. */
export function showSettings({ enabled, labels, actions }, lost) {
  show(byId("settings-summary"), el("p", {}, enabled
    ? `Retrains start by themselves, also when ${labels.needed} label spans are new.` : "Retrains do not start by themselves."));
  allow(byId("settings-save"), actions.config.allowed && !lost, lost ? "The server does not answer." : actions.config.reason);
}

async function load() {
  try {
    ({ body: config, etag } = await get("config"));
  } catch (error) {
    if (!config) show(byId("settings-fields"), el("p", {}, "The settings cannot be read now. Open this again when they can."));
    fail(error);
    return;
  }
  clear();
  drawFields();
  drawChanges();
}

async function save(changed) {
  const wanted = Object.fromEntries(edits());
  clear();
  if (Object.keys(wanted).length === 0) {
    show(byId("settings-done"), el("p", {}, "Nothing was changed."));
    return;
  }
  isSending = true;
  try {
    const answer = await change("PUT", "config", wanted, { "If-Match": etag });
    [config, etag] = [answer.body, answer.etag];
    drawFields();
    drawChanges();
    show(byId("settings-done"), savedParts(answer.body));
    changed();
  } catch (error) {
    fail(error);
  } finally {
    isSending = false;
  }
}

function savedParts({ effective, values }) {
  return el("div", { class: "launch launch-good" }, el("div", {}, el("p", {}, el("strong", {}, "Saved.")),
    el("ul", {}, Object.entries(effective ?? {}).map(([key, text]) => {
      const by = values[key]?.overriddenBy;
      return el("li", {}, `${settingWords(key).label}: ${by ? `has no effect, because ${by} sets it` : text}`);
    }))));
}

function fail(error) {
  if (error instanceof Refused && error.status === STALE) {
    show(byId("settings-error"), el("div", { class: "banner banner-warn" }, el("div", {},
      el("p", {}, el("strong", {}, "The settings were changed elsewhere meanwhile.")),
      el("p", {}, "Undo your changes to see the present values, then change them again."))));
    get("config").then((answer) => (newer = answer)).catch(() => {});
  } else {
    const invalid = problemFields(error);
    for (const [key, text] of invalid) markField(key, text);
    const names = invalid.map(([key]) => `“${settingWords(key).label}”`).join(", ");
    show(byId("settings-error"), el("div", { class: "banner banner-bad" }, el("p", {}, names && invalid.every(([key]) => field(key))
      ? `Nothing was saved. What must be corrected is marked: ${names}.` : prose(errorWords(error)))));
  }
  byId("settings-error").focus();
}

function problemFields(error) {
  // "#/schedule/cron" and "#/schedule.cron" name the same setting.
  return (error.problem?.errors ?? []).map((one) => [(one.pointer ?? "").replace("#/", "").replaceAll("/", "."), one.detail]);
}

function clear() {
  show(byId("settings-error"));
  show(byId("settings-done"));
}

function drawFields() {
  if (!config) return;
  newer = null;
  const keys = inOrder(config.editable);
  const groupOf = (name) => el("div", { class: "field-grid" }, keys.filter((key) => settingWords(key).group === name).map(fieldOf));
  byId("settings-fields").replaceChildren(
    el("fieldset", {}, el("legend", {}, SCHEDULING), groupOf(SCHEDULING)),
    el("details", {}, el("summary", {}, "Checks: what a new model must reach"), el("fieldset", {}, el("legend", { class: "sr-only" }, GATES), groupOf(GATES))),
    el("p", { class: "small quiet" }, "Changes are written to ", el("span", { class: "id" }, config.file), ". An empty field takes the default again."),
  );
}

function fieldOf(key) {
  const { value, source, overriddenBy, locked, default: standard } = config.values[key];
  const { label, hint, choices } = settingWords(key);
  const id = `setting-${key}`;
  const notes = [hint, `Default: ${shownValue(standard)}.`, overriddenBy && `Set by ${overriddenBy}, which comes first: a change here has no effect.`,
    !overriddenBy && value !== standard && `From ${source}.`, locked && `Cannot be changed here: ${locked}.`].filter(Boolean).join(" ");
  const common = { id, "data-key": key, disabled: Boolean(locked), "aria-describedby": `${id}-hint ${id}-error` };
  const after = [el("p", { class: "hint", id: `${id}-hint` }, notes), el("p", { class: "field-error", id: `${id}-error` })];
  if (typeof (value ?? standard) === "boolean") {
    return el("div", { class: "choice" }, el("input", { type: "checkbox", ...common, checked: value }), el("label", { for: id }, label), after);
  }
  return el("div", { class: "field" }, el("label", { for: id }, label), choices
    ? el("select", common, choices.map((choice) => el("option", { selected: choice === value }, choice)))
    : el("input", { type: "text", inputmode: isNumeric(key) ? "decimal" : null, value: fieldText(value), autocomplete: "off", spellcheck: "false", ...common }),
  after);
}

function isNumeric(key) {
  return !key.startsWith("schedule.");
}

function edits() {
  const fields = [...document.querySelectorAll("#settings-fields [data-key]")];
  return fields.map((one) => [one.dataset.key, valueOf(one)]).filter(([key, value]) => value !== (config.values[key].value ?? null));
}

function valueOf(one) {
  if (one.type === "checkbox") return one.checked;
  const text = one.value.trim();
  if (text === "") return null;
  // What is no number is sent as it is: the server says what it must be.
  return one.tagName === "INPUT" && isNumeric(one.dataset.key) && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function field(key) {
  return byId(`setting-${key}`);
}

function markField(key, words) {
  if (!key || !field(key)) return;
  show(byId(`setting-${key}-error`), words);
  field(key).removeAttribute("aria-invalid");
  if (!words) return;
  field(key).setAttribute("aria-invalid", "true");
  for (let part = field(key).closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
}

function drawChanges() {
  if (!config) return;
  const changes = config.changes.toReversed();
  show(byId("settings-changes"), el("h3", {}, "Who changed what"), changes.length === 0 ? el("p", {}, "Nothing was changed here yet.")
    : table("The last changes of the settings of this home", ["When", "Who", "Setting", "Before", "After"].map((words) => el("th", { scope: "col" }, words)),
      changes.map((one) => el("tr", {}, el("th", { scope: "row" }, when(one.at)),
        el("td", { "data-label": "Who" }, [one.who, VIA[one.via] ?? one.via].filter(Boolean).join(", ") || "unknown"),
        el("td", { "data-label": "Setting" }, settingWords(one.key).label),
        el("td", { "data-label": "Before" }, shownValue(one.before)), el("td", { "data-label": "After" }, shownValue(one.after))))));
}
