"""A decision computed again from snapshot, bundles and registry: a true one holds, and whatever was edited on the way is found."""

import shutil
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.decision.comparative_gates import SLICE_GATE
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.references import AppliedThreshold
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.evaluation.scored_windows import load_scored_windows, save_scored_windows
from taskclf_dagster.domain.evaluation.slices import DIMENSIONS, find_slice_inconsistencies
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.registry.inference_policy import read_policy
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.recomputation import recompute_decision, recompute_stored
from taskclf_dagster.errors import DecisionFinding, DecisionNotVerifiedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import change_a_leaf, contents, with_changes
from taskclf_dagster_tests.retrain_scenario import (
    LATER,
    LEARNED,
    Learned,
    decide_about,
    judge_challenger,
    run_retrain,
    take_snapshot,
    train_challenger,
)
from taskclf_dagster_tests.scenario import DAY, windows_frame, write_windows

DEFAULT = AppliedThreshold(value=0.55, origin="default")


@pytest.fixture
def home(learned: Learned, tmp_path: Path) -> Home:
    shutil.copytree(learned[0].root, tmp_path / "home")
    return Home(tmp_path / "home")


def differences(home: Home, decision: PromotionDecision) -> list[DecisionFinding]:
    return recompute_decision(read_registry_state(home), decision, cores=1)


def forged(decision: PromotionDecision, **changes: object) -> PromotionDecision:
    """A decision with other values, sealed again."""
    return seal(with_changes(decision, **changes))


def test_a_true_decision_is_the_same_when_it_is_computed_again(learned: Learned) -> None:
    home, first, second = learned
    assert differences(home, second) == []
    state = read_registry_state(home)
    assert [recompute_stored(state, decision, cores=1) for decision in (first, second)] == [[], []]


def test_a_receipt_states_the_reject_threshold_that_taskclf_applied_to_the_champion(learned: Learned) -> None:
    home, first, second = learned
    policy = read_policy(home)
    assert first.champion.threshold is None
    assert policy is not None
    assert second.champion.threshold == AppliedThreshold(value=policy["reject_threshold"], origin="policy")


def test_each_model_predicts_the_test_windows_once(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    home, _, second = learned
    seen: list[tuple[str, int]] = []
    predict = LoadedModel.predict_rows

    def counted(model: LoadedModel, rows: object, **options: object) -> object:
        seen.append((model.bundle.model_id, len(rows)))  # type: ignore[arg-type]
        return predict(model, rows, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LoadedModel, "predict_rows", counted)
    assert differences(home, second) == []
    windows = second.dataset.split["test"]
    assert second.champion.model is not None
    assert seen == [(second.challenger.model_id, windows), (second.champion.model.model_id, windows)]


def _gate(decision: PromotionDecision, name: str, **changes: object) -> dict[str, object]:
    return {"gates": [gate.model_copy(update=changes) if gate.name == name else gate for gate in decision.gates]}


def _model(decision: PromotionDecision, **changes: object) -> dict[str, object]:
    assert decision.champion.model is not None
    return {"champion_model": decision.champion.model.model_copy(update=changes)}


def _sums(decision: PromotionDecision) -> dict[str, object]:
    """One more window that the challenger has right, in the first cell where it can."""
    assert decision.comparison is not None
    cells = [list(cell) for cell in decision.comparison.sums.cells]
    cell = next(cell for cell in cells if cell[3] < min(cell[2], cell[4]))
    cell[3] += 1
    sums = decision.comparison.sums.model_copy(update={"cells": [tuple(cell) for cell in cells]})
    return {"comparison": decision.comparison.model_copy(update={"sums": sums})}


def _slices(decision: PromotionDecision) -> dict[str, object]:
    """A window that the challenger has right goes from one hour to another of the same user-day, so that the counts still add up."""
    assert decision.comparison is not None
    assert decision.comparison.slices is not None
    slices = decision.comparison.slices
    cells = list(slices.cells)
    hours = [i for i, cell in enumerate(cells) if slices.slices[cell.position].dimension == "hour of day"]
    pairs = ((i, j) for i in hours for j in hours if cells[i].user_day == cells[j].user_day and i != j)
    giver, taker = next((i, j) for i, j in pairs if cells[i].challenger_correct > 0 and cells[j].challenger_correct < cells[j].windows)
    cells[giver] = cells[giver]._replace(challenger_correct=cells[giver].challenger_correct - 1)
    cells[taker] = cells[taker]._replace(challenger_correct=cells[taker].challenger_correct + 1)
    edited = slices.model_copy(update={"cells": cells})
    assert find_slice_inconsistencies(edited, decision.comparison.sums) == []
    return {"comparison": decision.comparison.model_copy(update={"slices": edited})}


def _without_slices(decision: PromotionDecision) -> dict[str, object]:
    assert decision.comparison is not None
    return {"comparison": decision.comparison.model_copy(update={"slices": None})}


FORGERIES: dict[str, Callable[[PromotionDecision], dict[str, object]]] = {
    "macro_f1": lambda d: {"challenger": d.challenger.model_copy(update={"macro_f1": 0.99})},
    "weighted_f1": lambda d: {"challenger": d.challenger.model_copy(update={"weighted_f1": 0.99})},
    "the files of the challenger": lambda d: {"challenger": d.challenger.model_copy(update={"files": {"model.txt": "0" * 64}})},
    "a metric of a gate": lambda d: _gate(d, "reject_rate_bounds", observed=0.2),
    "the status of a gate": lambda d: _gate(d, "beats_rule_baseline", status="NOT_APPLICABLE", observed=None),
    "the split": lambda d: {"split": {**d.dataset.split, "test": d.dataset.split["test"] + 1}},
    "the newest label": lambda d: {"labels_until": LATER + DAY},
    "the digest of the dataset": lambda d: {"digest": "0" * 64},
    "the feasibility": lambda d: {"feasibility": d.dataset.feasibility.model_copy(update={"promotable": False})},
    "no champion": lambda d: {"champion_state": "none", "comparison": None, "champion_model": None, "anchors": []},
    "another champion": lambda d: {"champion_model_dir": f"models/{d.challenger.model_id}"},
    "macro_f1 of the champion": lambda d: _model(d, macro_f1=0.01),
    "the files of the champion": lambda d: _model(d, files={"model.txt": "0" * 64}),
    "a count of a block": _sums,
    "a count of a slice": _slices,
    "no counts by slice": _without_slices,
    "the reject threshold of the champion": lambda d: {"champion": d.champion.model_copy(update={"threshold": DEFAULT})},
    "no anchors": lambda d: {"anchors": []},
    "an anchor that is worse": lambda d: {"anchors": [d.anchors[0].model_copy(update={"anchor_macro_f1": 0.1})]},
    "the settings of the challenger": lambda d: {"training": None},
    "the recipe of the challenger": lambda d: {"recipe": d.recipe.model_copy(update={"trainer": "dask", "workers": 2})},
    "a blocked model": lambda d: {"rolled_back_as": "2026-01-01_000000_run-0001"},
}


def test_every_value_of_a_receipt_that_was_edited_and_sealed_again_is_found(learned: Learned) -> None:
    home, _, second = learned
    unseen = [name for name, change in FORGERIES.items() if not differences(home, forged(second, **change(second)))]
    assert unseen == []


def test_a_receipt_that_is_older_than_the_slices_is_computed_again_without_them(learned: Learned) -> None:
    home, _, second = learned
    gates = [gate for gate in second.gates if gate.name != SLICE_GATE]
    required = [name for name in second.required_gates if name != SLICE_GATE]
    assert differences(home, forged(second, **_without_slices(second), gates=gates, required_gates=required)) == []


def test_slices_are_counted_from_the_snapshot_and_the_vocabularies_of_both_models(learned: Learned) -> None:
    second = learned[2]
    assert second.comparison is not None
    assert second.comparison.slices is not None
    windows = dict.fromkeys(DIMENSIONS, 0)
    for each, counts in second.comparison.slices.by_slice():
        windows[each.dimension] += int(counts[:, 0].sum())
    assert windows == dict.fromkeys(DIMENSIONS, second.comparison.windows)


def test_a_snapshot_is_only_read_among_those_of_the_home(learned: Learned, home: Home) -> None:
    second = learned[2]
    shutil.copytree(home.root / second.dataset.path, home.artifacts / "elsewhere")
    assert len(differences(home, forged(second, path="artifacts/elsewhere"))) == 1
    with pytest.raises(ValidationError):
        forged(second, path="../snapshots/x")


def _relabel(home: Home, decision: PromotionDecision) -> None:
    """Every test window gets the label of the first window."""
    path = home.root / decision.dataset.path / "windows" / "part-000.parquet"
    rows = pq.read_table(path).to_pandas()
    rows["label"] = rows["label"].mask(rows["split"] == "test", rows["label"].iloc[0])
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path)


SOURCES: dict[str, Callable[[Home, PromotionDecision], object]] = {
    "other labels": _relabel,
    "no snapshot": lambda home, decision: shutil.rmtree(home.root / decision.dataset.path),
    "another challenger": lambda home, decision: change_a_leaf(home.challengers / decision.challenger.model_id),
    "no challenger": lambda home, decision: shutil.rmtree(home.challengers / decision.challenger.model_id),
    "another champion": lambda home, decision: change_a_leaf(home.root / (decision.champion.model_dir or "")),
    "another policy": lambda home, decision: home.inference_policy.unlink(),
}


@pytest.mark.parametrize("change", SOURCES.values(), ids=SOURCES.keys())
def test_sources_that_changed_since_the_decision_are_found_and_nothing_is_promoted(
    learned: Learned, home: Home, change: Callable[[Home, PromotionDecision], object]
) -> None:
    second = learned[2]
    change(home, second)
    if change is not SOURCES["another policy"]:  # which the digests of the registry tell, too
        assert differences(home, second) != []
    with pytest.raises(DecisionNotVerifiedError):
        promote(home, second, recompute=partial(recompute_decision, cores=1), at=LATER)


def test_predictions_that_were_edited_promote_nothing(home: Home) -> None:
    snapshot, _ = take_snapshot(home, LEARNED, as_of=LATER)
    challenger = train_challenger(home, snapshot, LEARNED)
    ours, theirs = judge_challenger(home, snapshot, challenger)
    assert ours.report is not None
    assert ours.report.predictions is not None
    scored, rows = load_scored_windows(home.root, ours.report.predictions)
    scored.predictions.predicted[:] = scored.predictions.true
    stored = save_scored_windows(home.root, home.root / ours.report.predictions.path, scored, rows)
    edited = ours.model_copy(update={"report": ours.report.model_copy(update={"predictions": stored})})
    decision = decide_about(home, snapshot, challenger, (edited, theirs))
    assert (decision.verdict, verify_decision(decision)) == ("PROMOTE", [])
    before = contents(home.models)
    with pytest.raises(DecisionNotVerifiedError):
        promote(home, decision, recompute=partial(recompute_decision, cores=1), at=LATER)
    assert contents(home.models) == before


def test_a_holdout_that_the_bundle_names_is_that_of_the_split(home: Home) -> None:
    snapshot, _ = take_snapshot(home, LEARNED, as_of=LATER, holdout=0.5)
    assert len(snapshot.holdout_users) == 1
    assert differences(home, run_retrain(home, snapshot)) == []
    hidden = snapshot.model_copy(update={"holdout_users": []})
    assert differences(home, run_retrain(home, hidden)) != []


def test_older_labels_of_a_user_who_is_held_out_are_kept_out_and_stand_in_no_way(home: Home) -> None:
    config = LEARNED.with_changes(data_lookback_days=7)
    snapshot, _ = take_snapshot(home, config, as_of=LATER, holdout=0.5)
    assert (snapshot.rows["older"] > 0, snapshot.rows["weak_after_cut"] > 0) == (True, True)
    assert snapshot.gold_windows == sum(snapshot.rows[part] for part in ("train", "validation", "test", "embargo"))
    assert differences(home, run_retrain(home, snapshot, config)) == []


def test_features_of_another_schema_that_appear_between_the_steps_change_nothing_in_this_run(home: Home) -> None:
    snapshot, _ = take_snapshot(home, LEARNED, as_of=LATER)
    challenger = train_challenger(home, snapshot, LEARNED)
    before = decide_about(home, snapshot, challenger, judge_challenger(home, snapshot, challenger))
    for day in sorted(path.name for path in home.features("v1").iterdir()):
        rows = windows_frame(start=datetime.fromisoformat(f"{day.removeprefix('date=')}T09:00+00:00"), version="v3")
        write_windows(home, rows, version="v3")
    home.features("v1").rename(home.root / "v1")
    after = decide_about(home, snapshot, challenger, judge_challenger(home, snapshot, challenger))
    assert challenger.schema_version == "v1"
    assert (after.verdict, after.comparison, after.dataset) == (before.verdict, before.comparison, before.dataset)
    assert [gate.numbers for gate in after.gates] == [gate.numbers for gate in before.gates]
    assert differences(home, after) == []
    assert take_snapshot(home, LEARNED, as_of=LATER)[0].schema_version == "v3"


def test_a_stored_decision_whose_champion_is_gone_cannot_be_computed_again(learned: Learned, home: Home) -> None:
    second = learned[2]
    save_decision(home, second)
    assert second.champion.model_dir is not None
    shutil.rmtree(home.root / second.champion.model_dir)
    assert len(recompute_stored(read_registry_state(home), second, cores=1)) == 1
