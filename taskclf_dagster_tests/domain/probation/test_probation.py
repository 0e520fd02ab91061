"""A promoted model is on probation: harm is found, and the model before it runs again, or a person is told once."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.probation import list_probations, probation_path, write_probation
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.monitoring.contender_scores import score_contenders
from taskclf_dagster.domain.monitoring.score_files import PREVIOUS, contender_scores_path
from taskclf_dagster.domain.registry.compared_models import list_ended
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.signatures import NO_KEYS
from taskclf_dagster.errors import ProbationError, RegistryRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster.status.registry_summary import summarize_registry
from taskclf_dagster_tests.probation_scenario import (
    ALERTS,
    PROMOTED_AT,
    ROLLS_BACK,
    home_with_promotion,
    look,
    look_daily,
    probation_of,
)
from taskclf_dagster_tests.scenario import DAY, copy_of, write_labels
from taskclf_dagster_tests.trial_scenario import block

Promoted = tuple[Home, PromotionDecision]


@pytest.fixture(scope="module")
def harmed_home(tmp_path_factory: pytest.TempPathFactory) -> Promoted:
    return home_with_promotion(tmp_path_factory.mktemp("harmed"))


@pytest.fixture(scope="module")
def better_home(tmp_path_factory: pytest.TempPathFactory) -> Promoted:
    return home_with_promotion(tmp_path_factory.mktemp("better"), worse=False)


@pytest.fixture
def harmed(harmed_home: Promoted, tmp_path: Path) -> Home:
    return copy_of(harmed_home[0], tmp_path)


@pytest.fixture
def better(better_home: Promoted, tmp_path: Path) -> Home:
    return copy_of(better_home[0], tmp_path)


def damage_active(home: Home) -> None:
    (home.root / active(home) / "model.txt").write_text("this is no model", encoding="utf-8")


def active(home: Home) -> str:
    pointer = read_active(home)
    assert pointer is not None
    return pointer.model_dir


def rollbacks(home: Home) -> list[str | None]:
    return [entry.cause for entry in read_history(home).entries if entry.action == "rollback"]


def alerts(home: Home) -> list[str]:
    return [event.event_id for event in read_outbox(home).events if event.event_type == "probation.harm"]


def test_a_harmful_promotion_is_rolled_back(harmed: Home, harmed_home: Promoted) -> None:
    last = look_daily(harmed, last=9)[-1]
    decision = harmed_home[1]
    assert (last.outcome, last.upper < 0) == ("rolled_back", True)
    assert decision.champion.model is not None
    assert active(harmed) == f"models/{decision.champion.model.model_id}"
    assert rollbacks(harmed) == ["probation-00000002-labels"]
    entry = read_history(harmed).entries[-1]
    assert "is worse than" in (entry.reason or "")
    assert decision.challenger.model_id in read_registry_state(harmed).history.blocked
    assert [event.event_type for event in read_outbox(harmed).events][-1] == "model.rolled_back"
    assert alerts(harmed) == []
    assert [finding for finding in check_registry(harmed) if finding.severity == "damage"] == []
    assert look(harmed, 9).looks == ()


def test_without_auto_rollback_a_person_is_told_once(harmed: Home) -> None:
    before = active(harmed)
    assert look(harmed, 8, config=ALERTS).looks[0].outcome == "harm"
    (harmed.outbox / f"{alerts(harmed)[0]}.json").unlink()  # it was sent
    assert look(harmed, 8.1, config=ALERTS).looks[0].outcome == "harm"
    assert look(harmed, 9, config=ALERTS).looks[0].outcome == "over"
    assert (alerts(harmed), active(harmed), rollbacks(harmed)) == ([], before, [])


def test_a_better_model_stays(better: Home) -> None:
    before = active(better)
    looks = look_daily(better, last=9)
    assert [each.outcome for each in looks] == ["goes_on"] * 8 + ["over"]
    assert (active(better), alerts(better), rollbacks(better)) == (before, [], [])


def test_a_model_that_does_not_load_is_rolled_back(harmed: Home) -> None:
    look(harmed, 1)
    damage_active(harmed)
    assert look(harmed, 1.5).looks[0].outcome == "rolled_back"
    assert rollbacks(harmed) == ["probation-00000002-load-error"]


def test_a_day_on_which_only_the_new_model_rejects_too_much_is_harm(better: Home) -> None:
    assert look(better, 2).looks[0].outcome == "goes_on"
    record = probation_of(better)
    bad = record.rejects[-1].model_copy(update={"day": (PROMOTED_AT + 2 * DAY).date(), "rate": 0.9, "outside": True})
    write_probation(better, record.model_copy(update={"rejects": (*record.rejects, bad)}))
    assert look(better, 3).looks[0].outcome == "rolled_back"
    assert rollbacks(better) == ["probation-00000002-reject-rate"]


@pytest.mark.parametrize(
    ("bounds", "outcome"), [({"min_reject_rate": 0.5}, "harm"), ({"max_reject_rate": 0.01}, "harm"), ({"max_reject_rate": 0.5}, "goes_on")]
)
def test_of_a_day_on_which_both_models_reject_too_much_a_person_is_told(better: Home, bounds: dict[str, float], outcome: str) -> None:
    found = look(better, 2, config=ROLLS_BACK.with_changes(gates=bounds)).looks[0]
    assert found.outcome == outcome
    assert ("the day is unusual" in found.detail) == (outcome == "harm")
    assert rollbacks(better) == []


def test_it_never_goes_back_to_a_model_that_the_labels_show_to_be_worse(better: Home) -> None:
    before = active(better)
    look(better, 8)
    damage_active(better)
    found = look(better, 8.2).looks[0]
    assert (found.outcome, "is worse" in found.detail) == ("harm", True)
    assert (active(better), rollbacks(better), len(alerts(better))) == (before, [], 1)


@pytest.mark.parametrize("problem", ["blocked", "changed"])
def test_it_never_goes_back_to_a_blocked_or_changed_model(harmed: Home, problem: str) -> None:
    look(harmed, 1)
    previous = probation_of(harmed).previous_id
    if problem == "changed":
        (harmed.models / previous / "model.txt").write_text("changed", encoding="utf-8")
    damage_active(harmed)
    if problem == "blocked":
        block(harmed, previous)
    found = look(harmed, 2).looks[0]
    assert found.outcome == "harm"
    assert "nothing was rolled back" in found.detail
    assert (rollbacks(harmed)[1:], len(alerts(harmed))) == ([], 1)


def test_a_crash_between_rollback_and_record_does_not_roll_back_again(harmed: Home) -> None:
    look(harmed, 8, config=ALERTS)
    path = probation_path(harmed, 2)
    before = path.read_bytes()
    assert look(harmed, 8.1).looks[0].outcome == "rolled_back"
    path.write_bytes(before)
    found = look(harmed, 8.2).looks[0]
    assert (found.outcome, probation_of(harmed).ending) == ("rolled_back", "rolled_back")
    assert len(rollbacks(harmed)) == 1


def test_a_rollback_is_refused_if_the_registry_changed_since_it_was_decided(harmed: Home) -> None:
    previous = read_history(harmed).entries[0].new
    assert previous is not None
    with pytest.raises(RegistryRefusedError, match="record 2 was written since record 1") as refused:
        rollback(harmed, to=previous.name, reason="late", at=PROMOTED_AT + DAY, expected_sequence=1)
    assert refused.value.kind == "registry_changed"


def test_it_ends_when_a_person_goes_back(harmed: Home) -> None:
    look(harmed, 1)
    rollback(harmed, to=None, reason="meetings", at=PROMOTED_AT + 2 * DAY)
    assert look(harmed, 2).looks[0].outcome == "moved_on"
    assert look(harmed, 3).looks == ()


def test_the_days_decide_how_long_it_is_and_0_switches_it_off(better: Home) -> None:
    assert look(better, 1, config=ROLLS_BACK.with_changes(probation_days=0)).looks == ()
    assert list_probations(better)[0] == []
    write_labels(better, [])
    assert look(better, 1, config=ROLLS_BACK.with_changes(probation_days=2)).looks[0].outcome == "goes_on"
    assert look(better, 4).looks[0].outcome == "over"
    assert probation_of(better).days == 2


def test_a_record_loses_nothing_and_an_edited_one_is_damage(better: Home) -> None:
    look(better, 4)
    record = probation_of(better)
    with pytest.raises(ProbationError, match="would be lost"):
        write_probation(better, record.model_copy(update={"rejects": record.rejects[1:]}))
    path = probation_path(better, record.sequence)
    path.write_text(path.read_text(encoding="utf-8").replace('"days": 7', '"days": 8'), encoding="utf-8")
    report = look(better, 5)
    assert len(report.damaged) == 1
    assert "changed after it was written" in report.problem
    assert any(finding.code == "probation_differs" for finding in check_registry(better))


def test_a_damaged_pointer_ends_no_probation_and_the_record_goes_with_its_model(better: Home) -> None:
    look(better, 1)
    better.active_pointer.write_text("{", encoding="utf-8")
    better.inference_policy.write_text("{", encoding="utf-8")
    look(better, 1.5)
    record = probation_of(better)
    assert record.is_open
    assert list(list_ended(better, staying=set())) == []
    write_probation(better, record.model_copy(update={"ending": "over"}))
    assert [each.kind for each in list_ended(better, staying=set())] == ["probation"]
    assert list(list_ended(better, staying={record.model_id})) == []


def test_the_model_before_scores_each_day_in_a_file_of_its_own(better: Home) -> None:
    look(better, 1)
    record = probation_of(better)
    (scores,) = score_contenders(better, [], as_of=PROMOTED_AT + 2 * DAY, num_threads=1)
    assert (scores.model_id, len(scores.days)) == (record.previous_id, 2)
    path = contender_scores_path(better, PROMOTED_AT.date(), record.previous_id, PREVIOUS)
    assert set(pq.read_table(path, columns=["role"])["role"].to_pylist()) == {"previous"}


def test_the_model_on_probation_is_on_the_page_and_in_the_status(harmed: Home) -> None:
    look(harmed, 8, config=ALERTS)
    record = probation_of(harmed)
    model = summarize_registry(harmed, ALERTS, NO_KEYS).model
    assert model is not None
    assert model.probation is not None
    assert (model.probation.previous_id, model.probation.harm) == (record.previous_id, True)
    assert "auto_rollback is false" in model.probation.sentence
    command, env = ["status", "--home", str(harmed.root)], {"DAGSTER_HOME": str(harmed.root.parent)}
    shown = CliRunner().invoke(main, command, env=env).output
    assert "on probation" in shown
    assert record.previous_id in shown
    told = json.loads(CliRunner().invoke(main, [*command, "--json"], env=env).stdout)["probation"]
    assert (told["model_id"], told["harm"], told["upper"] < 0) == (record.model_id, True, True)
