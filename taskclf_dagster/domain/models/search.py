"""Searches the settings that differ between people, on rolling-origin folds that hold no test row.

One change after another is compared with the present choice, beginning with the settings as given; it is taken if it is clearly better.
What is compared is in `search_result`, where the folds are in `folds`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from taskclf_dagster.config.settings import ClockInput, TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, FeatureSchema
from taskclf_dagster.domain.data.frame_parts import Rows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.models.choice import Choice, present_choice
from taskclf_dagster.domain.models.fold_fits import FoldFits
from taskclf_dagster.domain.models.fold_scores import Gain
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.models.search_result import SearchResult, SearchState, TriedChoice, explain_off, summarize
from taskclf_dagster.progress import Progress, Report, ignore_progress

MIN_GAIN = 0.02
"""Smallest gain in macro-F1 that is taken. Changes that hardly change a prediction are often better by chance, but not by so much."""


MAX_P_VALUE = 0.03
"""Largest p-value of a change that is taken: a gain of about 1.8 standard errors. Where none of five changes is better, the settings as
given are then kept in at least 90 % of homes, whatever the number of user-days (`benchmarks/search_noise.py`); with ten of them, at 0.05 in
87 %, and by the rule of one standard error in half."""


MIN_USER_DAYS = 6
"""With five no gain is as rare as MAX_P_VALUE: what was observed is one of 32 exchanges of whole user-days."""


MORE_LEAVES = (15, 31)


MORE_SEEDS = 3


CLOCK_INPUTS: tuple[ClockInput, ...] = get_args(ClockInput)


class Search(NamedTuple):
    """A search: its record, and the predictions of the chosen settings on the folds, for the reject threshold."""

    result: SearchResult
    out_of_fold: OutOfFold


def search_choices(
    rows: Rows,
    schema: FeatureSchema,
    *,
    params: TrainParams,
    dataset_digest: str,
    min_class_windows: int,
    min_user_days: int,
    budget: float,
    num_threads: int = 1,
    on_progress: Report = ignore_progress,
    engine: Engine = LOCAL,
) -> Search:
    """Compares clock inputs in or constant, older rows in or out, more leaves and an average of seeds with the settings as given.

    Equal arguments give an equal result on every machine: the budget counts rows, rounds and leaves, not seconds.

    Args:
        rows: as `build_snapshot` describes them, sorted by user and time; those of other splits than older, train and validation are
            neither learned from nor judged.
        schema: the schema version of the rows.
        params: the settings as given.
        dataset_digest: seeds are derived from it.
        min_class_windows: a label with fewer judged rows does not count.
        min_user_days: the search is off with fewer judged user-days, and below MIN_USER_DAYS.
        budget: largest cost of all fits, in fits of the original settings on the older and training rows. The folds of the settings as
            given are fitted in any case, for the learning curve and the reject threshold.
        num_threads: of LightGBM; the result does not depend on it.
        on_progress: takes reports of the rounds of the fits, with a line before those of each change.
        engine: trains the models.
    """
    fits = FoldFits(rows, schema, params=params, dataset_digest=dataset_digest, num_threads=num_threads, engine=engine)
    labels, needed = fits.judged_labels(min_class_windows), max(min_user_days, MIN_USER_DAYS)
    state: SearchState = "searched" if fits.user_days >= needed and len(labels) >= 2 else "off"
    tried = list(_try_changes(fits, params, labels, budget if state == "searched" else -math.inf, on_progress))
    choice = [each.choice for each in tried if each.verdict in ("present", "taken")][-1]
    names = [LABELS[i] for i in labels]
    result = SearchResult(
        state=state,
        choice=choice,
        tried=tried,
        learning_curve=fits.learning_curve(choice, labels),
        user_days=fits.user_days,
        judged_windows=len(fits.true),
        judged_labels=names,
        budget=budget,
        spent=sum(each.cost for each in tried if each.verdict != "not tried"),
        summary=summarize(tried, fits.user_days) if state == "searched" else explain_off(fits.user_days, needed, names),
    )
    return Search(result, fits.out_of_fold(choice))


def fit_with_reports(fits: FoldFits, choice: Choice, part: str, report: Report) -> None:
    """Does the fits of a choice, with a line before them and a report of each round."""
    report(Progress(part, 0, 0, "round", part))
    fits.fit(choice, lambda done, total: report(Progress(part, done, total, "round")))


def is_clearly_better(gain: Gain) -> bool:
    """Returns True for a gain that is taken: neither small nor likely by chance."""
    return gain.value >= MIN_GAIN and gain.p_value <= MAX_P_VALUE


def _try_changes(fits: FoldFits, params: TrainParams, labels: Sequence[int], budget: float, on_progress: Report) -> Iterator[TriedChoice]:
    """Yields the settings as given, whatever the budget is, then each change of what is present when its turn comes."""
    present, given = present_choice(params), "settings as given"
    left = budget - (cost := fits.cost(present))
    fit_with_reports(fits, present, f"search: {given}", on_progress)
    yield TriedChoice(change=given, choice=present, macro_f1=fits.macro_f1(present, labels), cost=cost, verdict="present")
    for change, values in _list_changes(present, has_older=fits.has_older):
        choice = present.model_copy(update=values)
        cost = fits.cost(choice)
        if cost > left:
            yield TriedChoice(change=change, choice=choice, macro_f1=None, cost=cost, verdict="not tried")
            continue
        fit_with_reports(fits, choice, f"search: {change}", on_progress)
        gain = fits.compare(choice, present, labels)
        taken = is_clearly_better(gain)
        yield TriedChoice(
            change=change,
            choice=choice,
            macro_f1=fits.macro_f1(choice, labels),
            gain=gain,
            cost=cost,
            verdict="taken" if taken else "not better",
        )
        left, present = left - cost, choice if taken else present
        fits.keep_only(present)


def _list_changes(given: Choice, *, has_older: bool) -> Iterator[tuple[str, dict[str, object]]]:
    """Yields each change of the settings as given, for people and as fields of a choice; what differs most between people comes first."""
    if given.constant_inputs:
        yield "no constant inputs", {"constant_inputs": []}
    else:
        yield "constant clock inputs", {"constant_inputs": list(CLOCK_INPUTS)}
    if has_older:
        yield "no older windows", {"uses_older": False}
    for leaves in MORE_LEAVES:
        if leaves > given.num_leaves:
            yield f"{leaves} leaves", {"num_leaves": leaves}
    yield f"average of {MORE_SEEDS} seeds", {"seeds": MORE_SEEDS}
