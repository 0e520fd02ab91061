"""Feasibility: checks before training that a dataset has enough labels for every gate to be judged, and advises what to label.

It uses class counts only.
"""

from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE, LABELS
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted


class Feasibility(Record):
    """The result of the check.

    Attributes:
        promotable: False if a required gate could not pass, whatever the model.
        judged_classes: labels with at least `min_class_windows` test windows.
        reasons: one for each obstacle; empty if promotable.
        advice: what to label, one sentence each; at the end the label spans that label nothing, also if it is promotable.
    """

    promotable: bool
    judged_classes: list[str]
    reasons: list[str]
    advice: list[str]

    @property
    def summary(self) -> str:
        """Reasons and advice as one text, shown in the check, the decision and the command line."""
        if self.promotable:
            return f"A model could be promoted: {len(self.judged_classes)} of {len(LABELS)} labels can be judged."
        return " ".join(["No model could be promoted on this data:", "; ".join(self.reasons) + ".", *self.advice])


def assess_feasibility(distribution: dict[str, dict[str, int]], *, min_class_windows: int, held_out: bool) -> Feasibility:
    """Compares a class distribution with the needs of every gate.

    Args:
        distribution: number of windows by split (older, train, validation, test) and label.
        min_class_windows: least number of true test windows with which a label is judged.
        held_out: True if users are held out of training.
    """
    test = distribution["test"]
    learned = count_learned(distribution)
    judged = [label for label in LABELS if test[label] >= min_class_windows]
    reasons, advice = [], []
    if BREAK_IDLE not in judged:
        total = sum(split[BREAK_IDLE] for split in distribution.values())
        reasons.append(
            f"{BREAK_IDLE} has {counted(test[BREAK_IDLE], 'test window')} ({total} in all) and must be judged on at least "
            f"{min_class_windows}"
        )
        advice.append(
            f"Label about {counted(min_class_windows, 'minute')} of {BREAK_IDLE} on the most recent days or from now on, "
            "and some on earlier days."
        )
    for label in judged:
        if learned[label] == 0:
            reasons.append(f"{label} is judged on {counted(test[label], 'test window')}, but has none to learn from")
            advice.append(f"Label {label} on earlier days, too.")
    if len(judged) == 0:
        reasons.append(f"no label has {counted(min_class_windows, 'test window')}")
        advice.append("Label more minutes on the most recent days.")
    if held_out and not any(learned.values()):
        reasons.append("every user is held out")
        advice.append("Hold out a smaller share of users.")
    return Feasibility(promotable=not reasons, judged_classes=judged, reasons=reasons, advice=advice)


def count_learned(distribution: dict[str, dict[str, int]]) -> dict[str, int]:
    """Returns the number of windows by label that a model learns from before it is judged on the validation split."""
    return {label: distribution["older"][label] + distribution["train"][label] for label in LABELS}
