"""A challenger that was held is tried on the days after its training: it is promoted, dropped, or goes on."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.decision_store import read_decision, verify_stored
from taskclf_dagster.domain.decision.trial import TrialEvidence, trial_path, write_trial
from taskclf_dagster.domain.decision.trial_gate import TRIAL_GATE
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.monitoring.contender_scores import score_contenders
from taskclf_dagster.domain.monitoring.score_files import contender_scores_path
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.retention import plan_prune
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.retraining.recomputation import recompute_stored
from taskclf_dagster.domain.trials.closed_days import last_closable_day
from taskclf_dagster.domain.trials.contenders import find_contenders, waits_for_evidence
from taskclf_dagster.errors import TrialError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.faults.injection import Killed
from taskclf_dagster_tests.models import edit_json, with_changes
from taskclf_dagster_tests.scenario import DAY, copy_of, write_labels
from taskclf_dagster_tests.trial_scenario import (
    CONFIG,
    HELD_AT,
    block,
    home_with_contender,
    live_on,
    look,
    look_until_it_ends,
    retrain,
    trial_of,
)

Tried = tuple[Home, PromotionDecision]


@pytest.fixture(scope="module")
def better_home(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    home, held = home_with_contender(tmp_path_factory.mktemp("better"))
    live_on(home, 14)
    return home, held


@pytest.fixture(scope="module")
def promoted_home(better_home: Tried, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    home = copy_of(better_home[0], tmp_path_factory.mktemp("promoted"))
    assert look_until_it_ends(home, last=16).outcome == "promoted"
    return home, better_home[1]


@pytest.fixture
def fresh(better_home: Tried, tmp_path: Path) -> Tried:
    return copy_of(better_home[0], tmp_path), better_home[1]


@pytest.fixture
def receipt(promoted_home: Tried) -> PromotionDecision:
    home, held = promoted_home
    decision = read_decision(home, trial_of(home, held).ended_by or "")
    assert decision is not None
    return decision


def test_a_better_challenger_is_promoted_with_a_receipt_that_verifies(promoted_home: Tried, receipt: PromotionDecision) -> None:
    home, held = promoted_home
    assert read_active(home).model_dir == f"models/{held.challenger.model_id}"
    assert receipt.trial is not None
    assert (receipt.verdict, receipt.replaces) == ("PROMOTE", (held.decision_id,))
    assert next(gate for gate in receipt.gates if gate.name == TRIAL_GATE).passed
    assert verify_stored(home, receipt.decision_id)[1] == []
    assert recompute_stored(read_registry_state(home), receipt, cores=1) == []
    assert [finding for finding in check_registry(home) if finding.severity == "damage"] == []
    assert any(event.event_type == "model.promoted" for event in read_outbox(home).events)


def test_a_crash_before_or_after_the_promotion_neither_loses_it_nor_makes_it_twice(fresh: Tried) -> None:
    home, held = fresh
    with pytest.raises(Killed):
        look(home, 10, recompute=die)
    path = trial_path(home, held.challenger.model_id)
    before = path.read_bytes()
    assert (trial_of(home, held).is_open, len(promotions(home))) == (True, 1)
    assert look(home, 10).looks[0].outcome == "promoted"
    made = promotions(home)
    path.write_bytes(before)
    assert look(home, 11).looks[0].outcome == "promoted"
    assert (promotions(home), trial_of(home, held).ended_by) == (made, made[1])
    assert look(home, 12).looks == ()


def die(_state: RegistryState, _decision: PromotionDecision) -> NoReturn:
    """Ends the process that would compute a decision again, between the writing of its receipt and its promotion."""
    raise Killed


def promotions(home: Home) -> list[str | None]:
    return [entry.decision_id for entry in read_history(home).entries if entry.action == "promote"]


def test_the_dataset_of_the_receipt_has_exactly_the_closed_windows(promoted_home: Tried, receipt: PromotionDecision) -> None:
    home, held = promoted_home
    trial = trial_of(home, held)
    rows = pq.read_table(home.root / receipt.dataset.path / "windows" / "part-000.parquet").to_pandas()
    assert len(rows) == trial.windows == receipt.dataset.split["test"]
    assert rows["gold"].all()
    assert (rows["bucket_start_ts"] >= trial.windows_from).all()
    assert set(rows["split"]) == {"test"}


@pytest.mark.parametrize(
    ("forge", "bounds_follow"),
    [
        (lambda trial: {"order": trial.order[::-1]}, True),
        (lambda trial: {"order": trial.order[:-1]}, False),
        (lambda trial: {"bounds": trial.bounds.model_copy(update={"lower": 0.5})}, False),
        (lambda trial: {"significance": 0.4}, True),
        (lambda trial: {"reference": trial.reference.model_copy(update={"spread": 1e-3})}, False),
    ],
    ids=["another order", "a user-day less", "another bound", "looser bounds", "another spread"],
)
def test_a_forged_trial_is_found(receipt: PromotionDecision, forge: Callable[[TrialEvidence], dict], bounds_follow: bool) -> None:  # type: ignore[type-arg]
    assert receipt.trial is not None
    assert receipt.comparison is not None
    forged = receipt.trial.model_copy(update=forge(receipt.trial))
    if bounds_follow:
        forged = forged.model_copy(update={"bounds": forged.bounds_from(receipt.comparison.sums)})
    found = verify_decision(seal(with_changes(receipt, trial=forged)))
    assert {"trial_does_not_follow", "not_computable"} & {finding.kind for finding in found}


def test_what_was_before_the_trial_is_looked_up_again(promoted_home: Tried, receipt: PromotionDecision) -> None:
    home, _ = promoted_home
    assert receipt.trial is not None
    forged = {
        "reference": receipt.trial.reference.model_copy(update={"spread": 0.9}),
        "held_windows": 10_000_000,
        "windows_from": receipt.trial.windows_from - DAY,
    }
    found = recompute_stored(read_registry_state(home), seal(with_changes(receipt, trial=receipt.trial.model_copy(update=forged))), cores=1)
    for expected in ("the counts before the trial", "says something else", "begins before both models were made"):
        assert any(expected in str(finding) for finding in found)


def test_what_is_better_but_misses_a_gate_on_the_windows_of_the_trial_is_not_promoted(fresh: Tried) -> None:
    home, held = fresh
    before = read_active(home)
    found = look(home, 10, config=CONFIG.with_changes(gates={"min_macro_f1": 0.9999})).looks[0]
    assert (found.outcome, found.lower > 0) == ("waits", True)
    assert "not every gate passes" in found.detail
    assert (read_active(home), trial_of(home, held).is_open) == (before, True)


def test_a_person_approves_where_auto_promote_is_off(fresh: Tried) -> None:
    home, held = fresh
    found = look_until_it_ends(home, last=16, every=4, config=CONFIG.with_changes(auto_promote=False))
    assert found.outcome == "awaiting_approval"
    assert read_active(home).model_dir != f"models/{held.challenger.model_id}"
    assert any(event.event_type == "model.awaiting_approval" for event in read_outbox(home).events)
    command = ["status", "--json", "--home", str(home.root)]
    (told,) = json.loads(CliRunner().invoke(main, command, env={"DAGSTER_HOME": str(home.root.parent)}).stdout)["trials"]
    assert (told["model_id"], told["state"], told["decision_id"]) == (held.challenger.model_id, "awaiting_approval", found.decision_id)
    assert (told["days"], told["lower"] > 0, datetime.fromisoformat(told["since"])) == (found.user_days, True, HELD_AT)
    assert held.challenger.model_id in plan_prune(home, keep_versions=1, keep_rejected=0, at=HELD_AT + 20 * DAY).reachable


def test_a_worse_challenger_is_dropped_and_stays_dropped(tmp_path: Path) -> None:
    home, held = home_with_contender(tmp_path, worse=True)
    live_on(home, 14)
    before = read_active(home)
    found = look_until_it_ends(home, last=16)
    assert (found.outcome, found.upper < 0) == ("worse", True)
    assert read_active(home) == before
    assert look(home, 16).looks == ()
    assert trial_of(home, held).ending == "worse"


def test_without_labels_it_waits_and_ends_with_its_days(fresh: Tried) -> None:
    home, held = fresh
    write_labels(
        home, [each for each in pq.read_table(home.labels).to_pylist() if each["start_ts"].replace(tzinfo=HELD_AT.tzinfo) < HELD_AT]
    )
    assert look(home, 5).looks[0].outcome == "waits"
    assert trial_of(home, held).user_days == ()
    assert held.challenger.model_id in plan_prune(home, keep_versions=1, keep_rejected=0, at=HELD_AT + 5 * DAY).reachable
    found = look(home, 16).looks[0]
    assert (found.outcome, found.decision_id) == ("time_over", None)


def test_a_day_closes_after_the_delay_and_later_labels_change_nothing(fresh: Tried) -> None:
    home, held = fresh
    look(home, 1, ahead=9 * DAY)
    assert trial_of(home, held).closed_through is None
    look(home, 2)
    closed = trial_of(home, held).user_days
    assert trial_of(home, held).windows_from == HELD_AT + timedelta(hours=1)
    assert {day.day for day in closed} == {HELD_AT.date()}
    write_labels(home, pq.read_table(home.labels).to_pylist()[::2])
    look(home, 2)
    assert trial_of(home, held).user_days == closed
    assert last_closable_day(trial_of(home, held), HELD_AT + 2 * DAY) == HELD_AT.date()


def test_a_trial_never_loses_a_user_day(fresh: Tried) -> None:
    home, held = fresh
    look(home, 3)
    trial = trial_of(home, held)
    with pytest.raises(TrialError, match="would change"):
        write_trial(home, trial.model_copy(update={"user_days": trial.user_days[1:]}))


def test_a_trial_that_was_edited_is_damage_and_is_not_judged(fresh: Tried) -> None:
    home, held = fresh
    look(home, 3)
    path = trial_path(home, held.challenger.model_id)
    path.write_text(path.read_text(encoding="utf-8").replace('"days": 14', '"days": 15'), encoding="utf-8")
    report = look(home, 4)
    assert report.looks == ()
    assert len(report.damaged) == 1
    assert any(finding.code == "trial_differs" for finding in check_registry(home))
    assert held.challenger.model_id in plan_prune(home, keep_versions=1, keep_rejected=0, at=HELD_AT + 5 * DAY).reachable


def test_a_trial_whose_promotion_is_refused_ends_with_its_days(fresh: Tried) -> None:
    home, _ = fresh
    stricter = CONFIG.with_changes(significance=0.01)
    look(home, 1)
    assert look(home, 15, config=stricter).looks[0].outcome == "problem"
    found = look(home, 16, config=stricter).looks[0]
    assert (found.outcome, "looser significance" in found.detail) == ("time_over", True)


def test_it_ends_when_another_model_becomes_active(fresh: Tried) -> None:
    home, held = fresh
    look(home, 2)
    other = retrain(home, HELD_AT + 3 * DAY, CONFIG.with_changes(train_params={"num_boost_round": 9}))
    assert other.verdict == "PROMOTE"
    assert look(home, 4).looks[0].outcome == "champion_changed"
    assert trial_of(home, held).ending == "champion_changed"


def test_weak_labels_decide_no_trial(fresh: Tried) -> None:
    home, held = fresh
    rules = [
        {**each, "provenance": "weak:app_id:editor"} if each["start_ts"].replace(tzinfo=UTC) >= HELD_AT else each
        for each in pq.read_table(home.labels).to_pylist()
    ]
    write_labels(home, rules)
    assert look(home, 5).looks[0].outcome == "waits"
    assert (trial_of(home, held).closed_through, trial_of(home, held).user_days) == ((HELD_AT + 3 * DAY).date(), ())


def test_a_trial_that_ended_takes_no_place_of_another(fresh: Tried) -> None:
    home, held = fresh
    look(home, 2)
    one = CONFIG.trials.model_copy(update={"max_contenders": 1})
    newer = retrain(home, HELD_AT + 3 * DAY, CONFIG.with_changes(min_windows=100_000, train_params={"num_boost_round": 9}))
    assert [each.decision_id for each in find_contenders(read_registry_state(home), one)] == [newer.decision_id]
    write_trial(
        home, trial_of(home, held).model_copy(update={"model_id": newer.challenger.model_id, "ending": "worse", "ended_at": HELD_AT})
    )
    assert [each.decision_id for each in find_contenders(read_registry_state(home), one)] == [held.decision_id]


def test_it_ends_when_its_bundle_is_another(fresh: Tried) -> None:
    home, held = fresh
    look(home, 2)
    edit_json((find_bundle(home, held.challenger.model_id) or home.root) / "metadata.json", {"reject_threshold": 0.01})
    assert look(home, 10).looks[0].outcome == "bundle_gone"


def test_only_undecided_challengers_are_tried(fresh: Tried, receipt: PromotionDecision) -> None:
    home, held = fresh
    settings, state = CONFIG.trials, read_registry_state(home)
    assert [each.decision_id for each in find_contenders(state, settings)] == [held.decision_id]
    assert find_contenders(state, settings.model_copy(update={"max_contenders": 0})) == []
    awaiting = held.model_copy(update={"verdict": "AWAITING_APPROVAL"})
    assert not waits_for_evidence(awaiting, settings)
    assert waits_for_evidence(awaiting, settings.model_copy(update={"awaiting_approval": True}))
    failed = [gate.model_copy(update={"status": "FAIL"}) if gate.name == "macro_f1" else gate for gate in held.gates]
    assert not waits_for_evidence(held.model_copy(update={"gates": failed}), settings)
    assert not waits_for_evidence(receipt, settings)
    block(home, held.challenger.model_id)
    assert find_contenders(read_registry_state(home), settings) == []


def test_a_challenger_on_trial_scores_each_day_in_a_file_of_its_own(fresh: Tried) -> None:
    home, held = fresh
    assert score_contenders(home, [], as_of=HELD_AT + 2 * DAY, num_threads=1) == ()
    look(home, 2)
    (scores,) = score_contenders(home, [], as_of=HELD_AT + 2 * DAY, num_threads=1)
    assert len(scores.days) == 2
    path = contender_scores_path(home, HELD_AT.date(), held.challenger.model_id)
    assert set(pq.read_table(path, columns=["role"])["role"].to_pylist()) == {"contender"}
    assert score_contenders(home, [HELD_AT.date()], as_of=HELD_AT + 2 * DAY, num_threads=1)[0].days == ()


@pytest.mark.parametrize(("delay", "closed"), [(0, 3), (2, 1)])
def test_the_delay_decides_when_labels_count(fresh: Tried, delay: int, closed: int) -> None:
    home, held = fresh
    look(home, 3, config=CONFIG.with_changes(trials={"label_delay_days": delay}))
    assert len({day.day for day in trial_of(home, held).user_days}) == closed


def test_the_days_decide_how_long_a_trial_is(fresh: Tried) -> None:
    home, held = fresh
    write_labels(home, [])
    assert look(home, 5, config=CONFIG.with_changes(trials={"days": 2})).looks[0].outcome == "time_over"
    assert trial_of(home, held).days == 2
