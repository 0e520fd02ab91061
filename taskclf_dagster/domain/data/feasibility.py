"""The pre-flight: could any model be promoted on this dataset, and if not, what should be labelled?

It looks at class counts only, before a model is trained, so that its words reach a person who can act on them.
"""

from taskclf_dagster.config.settings import EvaluationSettings
from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE, LABELS
from taskclf_dagster.domain.storage.records import Record


class Feasibility(Record):
    """Whether the gates can be judged at all.

    Attributes:
        promotable: False where some required gate could not pass whatever the model.
        judged_classes: labels with at least `min_class_windows` test windows.
        reasons: what stands in the way.
        advice: what to label, one sentence each.
    """

    promotable: bool
    judged_classes: list[str]
    reasons: list[str]
    advice: list[str]

    @property
    def words(self) -> str:
        """Reasons and advice as one text: the same in the check, the decision and the command line."""
        if self.promotable:
            return f"A model could be promoted: {len(self.judged_classes)} of {len(LABELS)} labels can be judged."
        return " ".join(["No model could be promoted on this data:", "; ".join(self.reasons) + ".", *self.advice])


def assess_feasibility(distribution: dict[str, dict[str, int]], settings: EvaluationSettings, *, held_out: bool) -> Feasibility:
    """Judges a class distribution against what every gate needs.

    Args:
        distribution: windows by split (train, validation, test) and label.
        settings: `min_class_windows`, the fewest true test windows with which a class is judged.
        held_out: whether users are held out, so that a model never saw them.
    """
    train, test = distribution["train"], distribution["test"]
    judged = [label for label in LABELS if test[label] >= settings.min_class_windows]
    reasons, advice = [], []
    if BREAK_IDLE not in judged:
        missing = settings.min_class_windows - test[BREAK_IDLE]
        total = sum(split[BREAK_IDLE] for split in distribution.values())
        reasons.append(
            f"{BREAK_IDLE} has {test[BREAK_IDLE]} test windows ({total} in all) and must be judged on at least {settings.min_class_windows}"
        )
        advice.append(f"Label at least {missing} more minutes of {BREAK_IDLE} on the most recent days, and some on earlier days.")
    for label in judged:
        if train[label] == 0:
            reasons.append(f"{label} is judged on {test[label]} test windows, but has none to learn from")
            advice.append(f"Label {label} on earlier days, too.")
    if len(judged) == 0:
        reasons.append(f"no label has {settings.min_class_windows} test windows")
        advice.append("Label more minutes on the most recent days.")
    if held_out and not any(train.values()):
        reasons.append("every user is held out")
        advice.append("Hold out a smaller share of users.")
    return Feasibility(promotable=not reasons, judged_classes=judged, reasons=reasons, advice=advice)
