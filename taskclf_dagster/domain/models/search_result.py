"""The record of a search: every choice that was tried, what was chosen, the learning curve, and a summary."""

from typing import Literal

from taskclf_dagster.domain.models.choice import Choice
from taskclf_dagster.domain.models.fold_scores import Gain
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

SearchState = Literal["searched", "off"]


Verdict = Literal["present", "taken", "not better", "not tried"]
"""present: the settings as given. not tried: it would cost more than is left of the budget, or the search is off."""


class TriedChoice(Record):
    """One choice beside the one that was present when its turn came, on the judged rows of all folds.

    Attributes:
        change: the difference to the present choice, for people.
        macro_f1: over the judged labels, without rejecting [0 to 1, higher is better]; None where nothing was judged.
        gain: of it over the present choice; None for the settings as given and for what was not tried.
        cost: in fits of the original settings on the training part.
    """

    change: str
    choice: Choice
    macro_f1: float | None
    gain: Gain | None = None
    cost: float
    verdict: Verdict


class LearningPoint(Record):
    """One fold of the chosen settings.

    Attributes:
        learned_windows, learned_days: rows and user-days (UTC) that the model of the fold learned from.
        macro_f1: on the rows that it judges, over the judged labels that occur there; None if none does.
    """

    learned_windows: int
    learned_days: int
    judged_windows: int
    macro_f1: float | None


class SearchResult(Record):
    """A search for the settings that fit one home.

    Attributes:
        state: off if there is too little to judge a choice by, so that the settings as given are kept.
        choice: the settings to train with.
        tried: in the order in which they were compared, the settings as given first.
        learning_curve: from the folds of the choice.
        user_days, judged_windows: on which choices were compared.
        judged_labels: those with enough judged windows.
        budget, spent: in fits of the original settings on the training part.
        summary: the result in one sentence.
    """

    state: SearchState
    choice: Choice
    tried: list[TriedChoice]
    learning_curve: list[LearningPoint]
    user_days: int
    judged_windows: int
    judged_labels: list[str]
    budget: float
    spent: float
    summary: str


def summarize(tried: list[TriedChoice], user_days: int) -> str:
    """Returns the outcome of a search in one sentence."""
    taken = [f"{each.change} ({_show(each.gain)})" for each in tried if each.verdict == "taken"]
    worse = [each.change for each in tried if each.verdict == "not better"]
    left = [each.change for each in tried if each.verdict == "not tried"]
    parts = [f"taken: {', '.join(taken)}" if taken else "the settings as given are kept"]
    parts += [f"not clearly better: {', '.join(worse)}"] if worse else []
    parts += [f"not tried within the budget: {', '.join(left)}"] if left else []
    return f"On {counted(user_days, 'user-day')}, judged by models of the labels before them, {'; '.join(parts)}."


def _show(gain: Gain | None) -> str:
    return "" if gain is None else f"macro-F1 higher by {gain.value:.3f}, p {gain.p_value:.3f}"


def explain_off(user_days: int, needed: int, labels: list[str]) -> str:
    """Returns the reason for a search that is off, in one sentence."""
    if user_days < needed:
        reason = f"{counted(user_days, 'user-day')} can be judged, and with fewer than {needed} it could find nothing but noise"
    else:
        reason = f"{counted(len(labels), 'label')} can be judged, and at least 2 are needed"
    return f"The settings as given are kept: {reason}."
