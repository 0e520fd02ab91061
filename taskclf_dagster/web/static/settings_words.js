/** Names and hints of the settings that can be changed here. A setting that is missing here is shown by its key. */

export const SCHEDULING = "Scheduling";
export const GATES = "Checks of a new model";

const CHOICES = {
  floor_policy: ["strict", "improve"],
  evidence_policy: ["point", "hold", "superior"],
};

const WORDS = {
  enabled: [SCHEDULING, "Retrain by itself", "Off: schedule and sensors launch nothing. You can always launch by hand."],
  "schedule.cron": [SCHEDULING, "Checks of the schedule (cron)", "0 6 * * * is every day at 6:00. Each check launches a retrain only if one is due."],
  "schedule.timezone": [SCHEDULING, "Time zone of the schedule", "Such as Europe/Vienna. Empty: that of the machine."],
  min_new_labels: [SCHEDULING, "New label spans that start a retrain", "New, changed or deleted since the last decision."],
  timeout_minutes: [SCHEDULING, "Longest retrain (minutes)", "A longer one is ended; the running model stays."],
  auto_promote: [SCHEDULING, "Promote without asking", "On: a model that passes every check becomes the running one at once. Off: it waits for approval."],
  "gates.min_macro_f1": [GATES, "Least macro-F1", "Average over the labels."],
  "gates.min_weighted_f1": [GATES, "Least weighted F1", "Frequent labels count more."],
  "gates.min_breakidle_precision": [GATES, "Least precision of BreakIdle", "Share of what it calls BreakIdle that is right."],
  "gates.min_breakidle_recall": [GATES, "Least recall of BreakIdle", "Share of the breaks that it finds."],
  "gates.min_class_precision": [GATES, "Least precision of each label", ""],
  "gates.min_reject_rate": [GATES, "Least share of rejected minutes", "Minutes for which it is too unsure to give a label."],
  "gates.max_reject_rate": [GATES, "Largest share of rejected minutes", ""],
  "gates.min_seen_user_f1": [GATES, "Least macro-F1 for known people", ""],
  "gates.min_unseen_user_f1": [GATES, "Least macro-F1 for people held out", ""],
  min_class_windows: [GATES, "Minutes of a label to be judged", "A label with fewer test minutes is not judged."],
  floor_policy: [GATES, "Floors", "strict: they always hold. improve: where the running model misses one, too, being as good is enough."],
  require_baseline_improvement: [GATES, "Must beat simple rules and the table of apps", ""],
  regression_tolerance: [GATES, "Largest drop of macro-F1", "Against the running model, on the same minutes."],
  min_improvement: [GATES, "Least gain of macro-F1", "0 asks for none."],
  evidence_policy: [GATES, "Evidence", "point: the difference decides. hold: its whole interval must stay above the allowed drop. superior: above 0."],
  significance: [GATES, "Error rate of intervals", "0.05 gives 95 % intervals."],
  min_user_days: [GATES, "Least labeled days", "With fewer the interval is rough."],
  min_windows: [GATES, "Least minutes compared", "With fewer the decision is put on hold."],
  max_leaked_share: [GATES, "Largest share of known minutes", "Beyond it, only newer minutes are compared."],
  clearly_worse_margin: [GATES, "Clearly worse means by more than", "F1 of one person or one label."],
  slice_gate: [GATES, "Reject if clearly worse in one app category or hour", "Off: it is a warning."],
  min_slice_windows: [GATES, "Minutes of a slice to be judged", ""],
  max_flip_excess: [GATES, "Largest excess of newly wrong minutes", "Share that became wrong minus share that became right."],
  max_negative_flips: [GATES, "Largest share of newly wrong minutes", "Empty: no such limit."],
  anchor_tolerance: [GATES, "Largest drop below the best recent model", "Empty: twice the largest drop."],
};

/** Returns group, label, hint and choices of a setting. */
export function settingWords(key) {
  const [group, label, hint] = WORDS[key] ?? [GATES, key, ""];
  return { group, label, hint, choices: CHOICES[key] ?? null };
}

/** Returns the keys in the order of this list, then the others. */
export function inOrder(keys) {
  const known = Object.keys(WORDS);
  const rank = (key) => (known.includes(key) ? known.indexOf(key) : known.length);
  return [...keys].sort((one, other) => rank(one) - rank(other));
}

/** Returns a value as it stands in a field. */
export function fieldText(value) {
  return value === null || value === undefined ? "" : String(value);
}

/** Returns a value for a person. */
export function shownValue(value) {
  if (value === true) return "on";
  if (value === false) return "off";
  return value === null || value === undefined ? "not set" : String(value);
}
