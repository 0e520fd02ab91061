"""Computes a decision again from its primary sources: the snapshot, the bundles and the registry.

Predictions and records that earlier steps stored are not read. `decision.verification` checks that everything else in a receipt follows
from the counts and gates that are compared here.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from taskclf_dagster.domain.data.feasibility import assess_feasibility
from taskclf_dagster.domain.data.snapshot_places import snapshot_folder
from taskclf_dagster.domain.data.snapshot_rows import ABOUT_ROWS, count_classes, count_splits, open_snapshot_rows
from taskclf_dagster.domain.data.split import SPLITS, is_gold_in_range
from taskclf_dagster.domain.decision.candidate_gates import check_candidate_gates
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.differences import differ
from taskclf_dagster.domain.decision.floors import judge_floors
from taskclf_dagster.domain.decision.references import ChampionState
from taskclf_dagster.domain.decision.verification import is_older_than_slices
from taskclf_dagster.domain.evaluation.baselines import BASELINE_COLUMNS, compare_with_baselines
from taskclf_dagster.domain.evaluation.comparison import (
    AnchorComparison,
    ComparisonCounts,
    compare_with_anchor,
    count_comparison,
    unscored_anchor,
)
from taskclf_dagster.domain.evaluation.evaluation_set import Evaluation, EvaluationSet
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_paths import require_bundle
from taskclf_dagster.domain.models.learned_rows import load_learned
from taskclf_dagster.domain.models.reproducibility import open_training_snapshot
from taskclf_dagster.domain.models.training import resolve_num_threads
from taskclf_dagster.domain.registry.anchors import find_anchors
from taskclf_dagster.domain.registry.applied_calibrators import load_applied
from taskclf_dagster.domain.registry.champion import Champion, resolve_active_model
from taskclf_dagster.domain.registry.inference_policy import reject_threshold_in_force
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.trials.trial_recomputation import compare_trial, compare_trial_dataset
from taskclf_dagster.domain.trials.two_models import TrialModels
from taskclf_dagster.errors import BundleError, DecisionFinding, SnapshotError, UnreadableFileError

NOT_RECOMPUTED = frozenset({"reproducible"})
"""Gates that only training again could judge; `taskclf-dagster reproduce` does."""


class _Opponents(NamedTuple):
    """The models that a challenger is compared with.

    Attributes:
        champion: as it was found.
        anchors: id and time of each.
        blocked: hash of the trees of each blocked model by id; None if that is not compared.
    """

    champion: Champion
    anchors: list[tuple[str, datetime]]
    blocked: dict[str, str | None] | None


def recompute_decision(state: RegistryState, decision: PromotionDecision, *, cores: int) -> list[DecisionFinding]:
    """Computes a decision again for the registry as it is now, before its challenger is promoted.

    Predicts the test windows once with each model.

    Args:
        state: the registry, against which the decision was made.
        decision: the receipt.
        cores: number of processors that `num_threads: auto` may use.

    Returns:
        The differences; empty if everything is the same.
    """
    blocked = {name: model.tree_hash for name, model in state.history.blocked.items()}
    opponents = _Opponents(resolve_active_model(state), find_anchors(state.history, as_of=decision.as_of), blocked)
    return _recompute(state, decision, opponents, cores)


def recompute_stored(state: RegistryState, decision: PromotionDecision, *, cores: int) -> list[DecisionFinding]:
    """Computes any stored decision again, against the champion, the policy and the anchors that it names.

    Args:
        state: the registry as it is now.
        decision: the receipt.
        cores: number of processors that `num_threads: auto` may use.

    Returns:
        The differences, among them what is no longer there to compute with; empty if everything is the same.
    """
    then = decision.champion
    champion = Champion(then.state, then.source, None, then.model_dir, then.reason, threshold=then.threshold, calibration=then.calibration)
    if then.model is not None:
        try:
            model = load_bundle(state.bundles.files(require_bundle(state.home, then.model.model_id)))
            calibrators = None if then.calibration is None else load_applied(state.home, then.calibration)
        except (BundleError, UnreadableFileError) as error:
            return [DecisionFinding("champion_unusable", f"champion {then.model.model_id} cannot be loaded: {error.reason}")]
        model = replace(model, reject_threshold=_threshold_then(decision, model), calibrators=calibrators)
        champion = replace(champion, model=model)
    anchors = [(anchor.model_id, anchor.ran_at) for anchor in decision.anchors]
    return _recompute(state, decision, _Opponents(champion, anchors, None), cores)


def _threshold_then(decision: PromotionDecision, model: LoadedModel) -> float:
    """Returns the reject threshold that the champion of a receipt was judged with; receipts of 0.2 do not state it."""
    then = decision.champion
    if then.threshold is not None:
        return then.threshold.value
    named = then.source in ("policy", "pointer")
    return reject_threshold_in_force(decision.registry.previous_policy, model) if named else model.reject_threshold


def _recompute(state: RegistryState, decision: PromotionDecision, opponents: _Opponents, cores: int) -> list[DecisionFinding]:
    try:
        stored = open_snapshot_rows(snapshot_folder(state.home, decision.dataset.path))
        digest = stored.digest()
        model = load_bundle(state.bundles.files(require_bundle(state.home, decision.challenger.model_id)))
    except (SnapshotError, BundleError, OSError) as error:
        return [DecisionFinding("not_computable", f"it cannot be computed again: {error}")]
    if digest != decision.dataset.digest:
        return [
            DecisionFinding("snapshot_differs", f"snapshot {decision.dataset.dataset_hash} holds other rows than those it was judged on")
        ]
    if model.files.hashes() != decision.challenger.files:
        return [DecisionFinding("bundle_differs", f"bundle {decision.challenger.model_id} is not the one that was judged")]
    unseen = [] if model.bundle.metadata is None else model.bundle.metadata.holdout_users
    rows = stored.load(columns=ABOUT_ROWS)
    try:
        training = stored if decision.trial is None else open_training_snapshot(state.home, model.files)
    except (SnapshotError, BundleError) as error:
        return [DecisionFinding("not_computable", f"it cannot be computed again: {error}")]
    trial, champion = decision.trial, opponents.champion
    dataset = _compare_dataset(decision, rows, unseen) if trial is None else compare_trial_dataset(decision, rows, unseen, training)
    findings = [*dataset, *_compare_opponents(decision, opponents, model)]
    test = EvaluationSet(
        rows=stored.load(splits=("test",)),
        schema_version=model.schema.version,
        users=[str(user) for user in sorted(rows["user_id"].unique())],
        unseen_users=unseen,
        min_class_windows=decision.settings.evaluation.min_class_windows,
        num_threads=resolve_num_threads(
            decision.settings.training.train_params.num_threads, rows=decision.dataset.split.get("test", 0), cores=cores
        ),
    )
    try:
        ours = test.evaluate(state.home, model)
    except BundleError as error:
        return [*findings, DecisionFinding("challenger_unusable", f"the challenger cannot be evaluated: {error.reason}")]
    theirs, champion_state = _evaluate_champion(state, opponents.champion, test)
    settings = decision.settings.comparison
    counts = None if theirs is None else count_comparison(test.windows, ours.scored, theirs.scored, settings=settings)
    made = model.bundle.require()
    if trial is not None and champion.model is not None:
        pair = TrialModels(state.home, champion.model, model, training, test.min_class_windows, test.num_threads, champion)
        findings += compare_trial(decision, trial, pair, rows)
    learned = load_learned(training, refit=made.refit, uses_older=made.uses_older, columns=BASELINE_COLUMNS)
    findings += differ("the settings of the challenger", decision.training, made.chosen_settings)
    findings += differ("the recipe of the challenger", decision.recipe, made.recipe)
    findings += _compare_candidate(decision, learned, test, ours, counts)
    findings += differ("the state of the champion", decision.champion.state, champion_state)
    findings += _compare_champion(decision, theirs, counts)
    return findings + _compare_anchors(state, decision, opponents.anchors, test, ours, theirs)


def _compare_dataset(decision: PromotionDecision, rows: pd.DataFrame, unseen: list[str]) -> list[DecisionFinding]:
    """Compares the counts of the split, the newest window, the feasibility, and the users that the bundle names as held out."""
    dataset, fewest = decision.dataset, decision.settings.evaluation.min_class_windows
    feasibility = assess_feasibility(count_classes(rows), min_class_windows=fewest, held_out=bool(unseen))
    latest = rows["bucket_start_ts"].max().to_pydatetime() if len(rows) else None
    return [
        *differ("the split", {**dict.fromkeys(SPLITS, 0), **dataset.split}, count_splits(rows)),
        *differ("the newest labeled window", dataset.labels_until, latest),
        *differ("the labels that can be judged", dataset.feasibility.judged_classes, feasibility.judged_classes),
        *differ("the feasibility", dataset.feasibility.promotable, feasibility.promotable),
        *_find_wrong_holdout(rows, set(unseen)),
    ]


def _find_wrong_holdout(rows: pd.DataFrame, unseen: set[str]) -> list[DecisionFinding]:
    """Compares the users that the bundle names as held out with the split.

    In the range that is split, every gold row of a held-out user is a test row; of another user with two or more, the first is not.
    """
    gold = rows[is_gold_in_range(rows)]
    tested = (gold["split"] == "test").groupby(gold["user_id"], observed=True)
    whole, number = tested.all(), tested.size()
    possible = {str(user) for user in whole.index[whole]}
    certain = {str(user) for user in whole.index[whole & (number > 1)]}
    wrong = sorted(unseen - possible | certain - unseen)
    found = f"the bundle and the split disagree about the users that were held out: {', '.join(wrong)}"
    return [DecisionFinding("holdout_differs", found)] if wrong else []


def _compare_opponents(decision: PromotionDecision, opponents: _Opponents, model: LoadedModel) -> list[DecisionFinding]:
    """Compares the champion and the anchors that were found, and the blocked model that the challenger equals."""
    champion, then = opponents.champion, decision.champion
    files = None if champion.model is None else champion.model.files.hashes()
    anchors = [(anchor.model_id, anchor.ran_at) for anchor in decision.anchors]
    blocked = {decision.rolled_back_as: model.tree_hash} if opponents.blocked is None else opponents.blocked
    rolled_back_as = next((name for name, trees in blocked.items() if trees == model.tree_hash), None)
    return [
        *differ("the champion's folder", then.model_dir, champion.model_dir),
        *differ("the champion's source", then.source, champion.source),
        *([] if then.threshold is None else differ("the champion's reject threshold", then.threshold, champion.threshold)),
        *([] if then.model is None else differ("the champion's calibrators", then.calibration, champion.calibration)),
        *([] if then.model is None else differ("the champion's files", then.model.files, files)),
        *differ("the anchors", anchors, opponents.anchors),
        *differ("the blocked model with the same trees", decision.rolled_back_as, rolled_back_as),
    ]


def _compare_candidate(
    decision: PromotionDecision, learned: pd.DataFrame, test: EvaluationSet, ours: Evaluation, counts: ComparisonCounts | None
) -> list[DecisionFinding]:
    """Compares the metrics of the challenger and the candidate gates; `counts` are those beside the champion."""
    rule, lookup = compare_with_baselines(learned, test.rows, ours.scored.predictions, ours.report.judged_labels)
    alone = check_candidate_gates(
        ours.report, failure=None, rule=rule, lookup=lookup, reproduction=None, settings=decision.settings.evaluation
    ).gates
    sums = None if counts is None else counts.sums
    gates = judge_floors(alone, sums, held_out=test.unseen_users, config=decision.settings)
    recorded = {gate.name: gate for gate in decision.gates if gate.kind == "candidate"}
    findings = [
        *differ("macro_f1 of the challenger", decision.challenger.macro_f1, ours.report.macro_f1),
        *differ("weighted_f1 of the challenger", decision.challenger.weighted_f1, ours.report.weighted_f1),
    ]
    for gate in gates:
        then = recorded.get(gate.name)
        if gate.name not in NOT_RECOMPUTED:
            findings += differ(f"gate {gate.name}", None if then is None else then.numbers, gate.numbers)
    return findings


def _evaluate_champion(state: RegistryState, champion: Champion, test: EvaluationSet) -> tuple[Evaluation | None, ChampionState]:
    """Predicts the test windows with the champion; it is unreadable if it cannot."""
    if champion.model is None:
        return None, champion.state
    try:
        return test.evaluate(state.home, champion.model), champion.state
    except BundleError:
        return None, "unreadable"


def _compare_champion(decision: PromotionDecision, theirs: Evaluation | None, counts: ComparisonCounts | None) -> list[DecisionFinding]:
    """Compares the metrics of the champion and the counts of the comparison."""
    then, comparison = decision.champion.model, decision.comparison
    if theirs is None or counts is None or then is None or comparison is None:
        there = then is not None, comparison is not None
        return differ("an evaluation and a comparison of the champion", there, (theirs is not None, theirs is not None))
    return [
        *differ("macro_f1 of the champion", then.macro_f1, theirs.report.macro_f1),
        *differ("weighted_f1 of the champion", then.weighted_f1, theirs.report.weighted_f1),
        *differ("the number of windows left out of the comparison", comparison.left_out, counts.left_out),
        *differ("the windows excluded for leakage", comparison.exclusion, counts.exclusion),
        *differ("the counts by user and block", comparison.sums, counts.sums),
        *differ("the flips", comparison.flips, counts.flips),
        *([] if is_older_than_slices(decision) else differ("the counts by slice", comparison.slices, counts.slices)),
    ]


def _compare_anchors(
    state: RegistryState,
    decision: PromotionDecision,
    anchors: Sequence[tuple[str, datetime]],
    test: EvaluationSet,
    ours: Evaluation,
    champion: Evaluation | None,
) -> list[DecisionFinding]:
    recorded = {anchor.model_id: anchor for anchor in decision.anchors}
    settings, fewest = decision.settings.comparison, test.min_class_windows
    findings: list[DecisionFinding] = []
    for model_id, ran_at in anchors:
        try:
            is_champion = champion is not None and champion.report.model_id == model_id
            theirs = champion if champion is not None and is_champion else test.evaluate(state.home, state.load(f"models/{model_id}"))
            again = compare_with_anchor(test.rows, ours.scored, theirs.scored, ran_at=ran_at, settings=settings, min_class_windows=fewest)
        except BundleError as error:
            again = unscored_anchor(model_id, ran_at=ran_at, problem=error.reason)
        then = recorded.get(model_id)
        findings += differ(f"anchor {model_id}", None if then is None else _numbers(then), _numbers(again))
    return findings


def _numbers(anchor: AnchorComparison) -> tuple[object, ...]:
    return anchor.windows, anchor.challenger_macro_f1, anchor.anchor_macro_f1, anchor.difference
