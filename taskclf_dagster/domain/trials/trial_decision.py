"""Makes the decision about a contender from its trial: both models predict its windows again, and every gate is judged on them."""

from datetime import datetime

import pandas as pd

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.label_store import present_watermark
from taskclf_dagster.domain.decision.candidate_gates import check_candidate_gates
from taskclf_dagster.domain.decision.decision import RECEIPT_VERSION, DecisionContent, PromotionDecision, seal, sign_decision
from taskclf_dagster.domain.decision.decision_store import find_replaced
from taskclf_dagster.domain.decision.floors import judge_floors
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.decision.references import ChampionRef, DatasetRef, ModelRef, RunOptions
from taskclf_dagster.domain.decision.trial import TrialEvidence, TrialRecord, UserDay, list_user_days
from taskclf_dagster.domain.decision.trial_gate import TRIAL_GATE
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES, decide
from taskclf_dagster.domain.decision.verification import judge_comparative_gates
from taskclf_dagster.domain.evaluation.baselines import BASELINE_COLUMNS, compare_with_baselines
from taskclf_dagster.domain.evaluation.comparison import (
    AnchorComparison,
    Comparison,
    compare,
    compare_with_anchor,
    derive_seed,
    unscored_anchor,
)
from taskclf_dagster.domain.evaluation.evaluation_set import Evaluation
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.learned_rows import load_learned
from taskclf_dagster.domain.registry.anchors import find_anchors
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.home_id import ensure_home_id
from taskclf_dagster.domain.trials.trial_dataset import TrialDataset, store_trial_dataset
from taskclf_dagster.domain.trials.two_models import PairEvaluation, TrialModels, assess_trial_feasibility
from taskclf_dagster.errors import BundleError

REPRODUCIBLE = "reproducible"
"""The gate that is taken from the decision that held the contender: the same bundle was trained again then."""


def decide_trial(
    state: RegistryState,
    trial: TrialRecord,
    models: TrialModels,
    held: PromotionDecision,
    *,
    config: RetrainConfig,
    as_of: datetime,
    code_version: str,
) -> PromotionDecision:
    """Stores the windows of a trial as a dataset, predicts them with both models and judges every gate; the receipt is not stored.

    Args:
        state: the registry.
        trial: the trial, with a user-day.
        models: both models.
        held: the decision that held the contender.
        config: the policy.
        as_of: the time of the look.
        code_version: recorded.

    Raises:
        BundleError: a model does not predict.
        DataContractError: the windows violate the data contract by now.
        UnreadableFileError: a daily file cannot be read.
    """
    home = state.home
    dataset = store_trial_dataset(home, trial)
    rows = dataset.stored.load()
    found = models.evaluate(rows)
    comparison = _compare(models, rows, found, digest=dataset.digest, config=config)
    candidate = _judge_contender(models, rows, found.contender, held, comparison, config)
    blocked = state.history.blocked.items()
    content = DecisionContent(
        receipt_version=RECEIPT_VERSION,
        verdict="HOLD",
        reason="",
        as_of=as_of,
        home=home.display_name,
        demo=home.is_demo,
        code_version=code_version,
        options=RunOptions(dry_run=False, forced=False, bootstrap=False),
        dataset=_refer_to_dataset(state, dataset, rows, models, held),
        challenger=_refer_to_model(models.contender, found.contender),
        champion=_refer_to_champion(models, found.champion),
        registry=state.reference,
        comparison=comparison,
        anchors=_compare_anchors(state, models, rows, found, as_of=as_of, config=config),
        rolled_back_as=next((name for name, each in blocked if each.tree_hash == models.contender.tree_hash), None),
        gates=[],
        required_gates=[*REQUIRED_GATES, TRIAL_GATE],
        policy=config.policy,
        prediction_diff=None,
        protections=[
            f"a trial of {trial.days} days beside the active model; every look at it is counted, significance {trial.significance:g}",
            "only windows later than the training of both models, with labels of a person",
            "promotes by itself" if config.promotion.auto_promote else "a person has to approve",
        ],
        home_id=ensure_home_id(home),
        training=models.contender.bundle.require().chosen_settings,
        recipe=models.contender.bundle.require().recipe,
        trial=_make_evidence(trial, held, comparison),
    )
    gates, auto_promote = [*candidate, *judge_comparative_gates(content, config)], config.promotion.auto_promote
    verdict, reason = decide(gates, content.dataset.feasibility, auto_promote=auto_promote, required=content.required_gates)
    content = content.model_copy(update={"gates": gates, "verdict": verdict, "reason": reason})
    return sign_decision(seal(content.model_copy(update={"replaces": find_replaced(home, content)})), state.keys)


def _compare(models: TrialModels, rows: pd.DataFrame, found: PairEvaluation, *, digest: str, config: RetrainConfig) -> Comparison:
    files = [models.champion_model.files.hashes(), models.contender.files.hashes()]
    return compare(
        models.evaluation_set(rows).windows,
        found.contender.scored,
        found.champion.scored,
        settings=config.comparison,
        min_class_windows=config.evaluation.min_class_windows,
        seed=derive_seed(digest, files, config.policy),
    )


def _judge_contender(
    models: TrialModels, rows: pd.DataFrame, ours: Evaluation, held: PromotionDecision, comparison: Comparison, config: RetrainConfig
) -> list[RegressionGate]:
    """Judges the candidate gates on the windows of the trial; the proof that it can be trained again is that of the held decision."""
    made = models.contender.bundle.require()
    learned = load_learned(models.training, refit=made.refit, uses_older=made.uses_older, columns=BASELINE_COLUMNS)
    rule, lookup = compare_with_baselines(learned, rows, ours.scored.predictions, ours.report.judged_labels)
    judged = check_candidate_gates(ours.report, failure=None, rule=rule, lookup=lookup, reproduction=None, settings=config.evaluation).gates
    proof = next((gate for gate in held.gates if gate.name == REPRODUCIBLE), None)
    gates = [proof if gate.name == REPRODUCIBLE and proof is not None else gate for gate in judged]
    return judge_floors(gates, comparison.sums, held_out=held.dataset.holdout_users, config=config)


def _compare_anchors(
    state: RegistryState, models: TrialModels, rows: pd.DataFrame, found: PairEvaluation, *, as_of: datetime, config: RetrainConfig
) -> list[AnchorComparison]:
    test, settings, fewest = models.evaluation_set(rows), config.comparison, config.evaluation.min_class_windows
    anchors = []
    for model_id, ran_at in find_anchors(state.history, as_of=as_of):
        try:
            is_champion = model_id == models.champion_model.bundle.model_id
            theirs = (found.champion if is_champion else test.evaluate(state.home, state.load(f"models/{model_id}"))).scored
        except BundleError as error:
            anchors.append(unscored_anchor(model_id, ran_at=ran_at, problem=error.reason))
            continue
        ours = found.contender.scored
        anchors.append(compare_with_anchor(rows, ours, theirs, ran_at=ran_at, settings=settings, min_class_windows=fewest))
    return anchors


def _make_evidence(trial: TrialRecord, held: PromotionDecision, comparison: Comparison) -> TrialEvidence:
    """Returns the evidence on the user-days that the comparison has, in the order of the trial."""
    compared = {*list_user_days(comparison.sums)}
    evidence = TrialEvidence(
        held_by=held.decision_id,
        held_hash=held.decision_hash,
        held_windows=sum(held.dataset.split.values()),
        started_at=trial.started_at,
        windows_from=trial.windows_from,
        expected_user_days=trial.expected_user_days,
        significance=trial.significance,
        reference=trial.reference,
        order=tuple(UserDay(user=day.user, day=day.day) for day in trial.user_days if (day.user, day.day) in compared),
        bounds=trial.bounds,
    )
    return evidence.model_copy(update={"bounds": evidence.bounds_from(comparison.sums)})


def _refer_to_dataset(
    state: RegistryState, dataset: TrialDataset, rows: pd.DataFrame, models: TrialModels, held: PromotionDecision
) -> DatasetRef:
    held_out = held.dataset.holdout_users
    return DatasetRef(
        dataset_hash=dataset.digest[:16],
        digest=dataset.digest,
        path=dataset.path,
        split=dataset.split,
        label_watermark=present_watermark(state.home) or held.dataset.label_watermark,
        labels_until=rows["bucket_start_ts"].max().to_pydatetime(),
        feasibility=assess_trial_feasibility(rows, models.training, held_out, min_class_windows=models.min_class_windows),
        holdout_users=held_out,
    )


def _refer_to_model(model: LoadedModel, evaluation: Evaluation) -> ModelRef:
    report = evaluation.report
    return ModelRef(
        model_id=model.bundle.model_id,
        files=model.files.hashes(),
        report_hash=report.record_hash,
        macro_f1=report.macro_f1,
        weighted_f1=report.weighted_f1,
    )


def _refer_to_champion(models: TrialModels, evaluation: Evaluation) -> ChampionRef:
    champion = models.champion
    return ChampionRef(
        state=champion.state,
        source=champion.source,
        reason=champion.reason,
        model=_refer_to_model(models.champion_model, evaluation),
        model_dir=champion.model_dir,
        warnings=champion.warnings,
        threshold=champion.threshold,
        calibration=champion.calibration,
    )
