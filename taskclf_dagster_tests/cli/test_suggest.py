"""Tests what to label next, from a real retrain on a home with unlabeled time to the command and taskclf's queue."""

import json
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.jobs.retrain import RetrainParams, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.suggestion_store import LabelSuggestions, load_suggestions, suggestions_path
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import edit_json
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home, make_home, span, weak, write_labels

CONFIG = "min_class_windows: 20\nmin_windows: 50\ntrain_params: {num_boost_round: 15, num_leaves: 31, feature_fraction: 1.0}\n"
NEWEST = AS_OF - DAY


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, PromotionDecision]:
    """A home after a retrain. On its newest day user-0 has only a weak label, and user-1 has no Meet since the day before."""
    folder = tmp_path_factory.mktemp("suggest")
    home = learnable_home(folder, users=2, days=6)
    kept = [row for row in pq.read_table(home.labels).to_pylist() if not _is_removed(row)]
    write_labels(home, [*kept, weak(NEWEST, NEWEST + DAY, "Build", user="user-0")])
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    clock = ClockResource(fixed=(AS_OF + timedelta(hours=1)).isoformat())
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=clock)
        decision = run_retrain_pipeline(definitions, RetrainParams(config_path=str(folder / "config.yaml")), instance=instance).decision
    assert decision is not None
    return home, decision


def _is_removed(row: dict[str, object]) -> bool:
    start = row["start_ts"]
    assert isinstance(start, datetime)
    return (row["user_id"] == "user-0" and start >= NEWEST) or (row["label"] == "Meet" and start >= NEWEST - DAY)


@pytest.fixture
def home(judged: tuple[Home, PromotionDecision], tmp_path: Path) -> Home:
    shutil.copytree(judged[0].root, tmp_path / "home")
    return Home(tmp_path / "home")


def _suggest(home: Home, *options: str) -> str:
    result = CliRunner().invoke(main, ["suggest", "--home", str(home.root), *options])
    assert result.exit_code == 0, result.output
    return result.output


def _fails(home: Home, *options: str) -> str:
    result = CliRunner().invoke(main, ["suggest", "--home", str(home.root), *options])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    return " ".join(result.output.split())


def _stored(home: Home, decision: PromotionDecision) -> LabelSuggestions:
    found = load_suggestions(home, decision.decision_id)
    assert found is not None
    return found


def test_days_that_made_the_difference_are_told_after_a_rejection(home: Home, judged: tuple[Home, PromotionDecision]) -> None:
    decision = judged[1]
    assert "Why it was rejected" not in _suggest(home)
    day = {"user_id": "user-1", "day": "2026-02-03", "learned": 84, "compared": 0, "difference": -0.01, "margin": 0.01, "passes": True}
    day |= {"still_failing": ["negative_flips"], "stands_out": True}
    edit_json(suggestions_path(home, decision.decision_id), {"day_effects": {"days": [day], "left": 2, "reason": ""}})
    told = " ".join(_suggest(home).split())
    result = "macro_f1_no_regression would pass by 0.0100, but negative_flips would not."
    assert f"Why it was rejected: Without the 84 labels of user-1 on Tuesday, 2026-02-03, {result}" in told
    assert json.loads(_suggest(home, "--json"))["day_effects"]["days"] == [day]


def test_a_retrain_suggests_unlabeled_time_of_every_kind_and_of_both_users(judged: tuple[Home, PromotionDecision]) -> None:
    home, decision = judged
    found = _stored(home, decision)
    assert (found.problem, found.as_of, found.days) == (None, decision.as_of, 7)
    assert found.unlabeled > sum(each.minutes for each in found.suggestions) > 0
    kinds = {(each.kind, each.user_id) for each in found.suggestions}
    assert kinds >= {("unjudged_class", "user-0"), ("unjudged_class", "user-1"), ("uncovered_day", "user-0")}
    assert ("uncovered_day", "user-1") not in kinds
    assert {each.label for each in found.suggestions if each.kind == "unjudged_class"} == {"Meet"}
    labels = pq.read_table(home.labels).to_pylist()
    gold = [(row["user_id"], row["start_ts"], row["end_ts"]) for row in labels if row["provenance"] == "manual"]
    for each in found.suggestions:
        assert not [user for user, start, end in gold if user == each.user_id and start < each.end and each.start < end]
    assert [finding for finding in check_registry(home) if finding.code != "policy_missing"] == []


def test_the_command_names_the_decision_and_lists_them_in_their_order(judged: tuple[Home, PromotionDecision]) -> None:
    home, decision = judged
    found, printed = _stored(home, decision), _suggest(home)
    assert printed.startswith(f"decision {decision.decision_id} ({decision.outcome}, 2026-02-04 01:00 UTC): ")
    times = [(each.user_id, f"{each.start:%Y-%m-%d}", f"{each.start:%H:%M}") for each in found.suggestions]
    assert re.findall(r"^(user-\d) +([\d-]+) +([\d:]+) - ", printed, re.MULTILINE) == times
    document = json.loads(_suggest(home, "--json"))
    assert document["decision_id"] == decision.decision_id
    listed = [{key: value for key, value in each.items() if key != "minutes"} for each in document["suggestions"]]
    assert listed == [each.model_dump(mode="json") for each in found.suggestions]
    assert sum(each["minutes"] for each in document["suggestions"]) == int(printed.split("UTC): ")[1].split(" ")[0])


def test_time_that_was_labeled_since_is_left_out(home: Home, judged: tuple[Home, PromotionDecision]) -> None:
    first, *others = _stored(home, judged[1]).suggestions
    new = span(first.start + timedelta(minutes=2), first.start + timedelta(minutes=3), "Meet", user=first.user_id)
    write_labels(home, [*pq.read_table(home.labels).to_pylist(), new])
    document = json.loads(_suggest(home, "--json"))
    assert document["labeled_since"] == 1
    assert len(document["suggestions"]) == len(others)
    assert "; 1 was labeled since" in _suggest(home)
    everything = [span(AS_OF - 8 * DAY, AS_OF, "Build", user=None)]
    write_labels(home, everything)
    assert f"nothing is left; {1 + len(others)} were labeled since" in _suggest(home)


def test_the_queue_gets_each_of_them_once(home: Home, judged: tuple[Home, PromotionDecision]) -> None:
    found = _stored(home, judged[1]).suggestions
    assert f"{len(found)} added to" in _suggest(home, "--queue")
    queue = json.loads(home.label_queue.read_text(encoding="utf-8"))
    assert [(each["user_id"], each["predicted_label"], each["confidence"]) for each in queue] == [
        (each.user_id, each.label, each.confidence) for each in found
    ]
    again = _suggest(home, "--queue")
    assert "0 added to" in again
    assert f"it has an entry about the time of {len(found)}" in again
    assert json.loads(home.label_queue.read_text(encoding="utf-8")) == queue


def test_a_damaged_queue_is_one_message_and_stays(home: Home) -> None:
    home.label_queue.write_text("{", encoding="utf-8")
    assert "queue.json cannot be read" in _fails(home, "--queue")
    assert home.label_queue.read_text(encoding="utf-8") == "{"


def test_without_a_decision_or_its_file_the_command_says_so(home: Home, judged: tuple[Home, PromotionDecision], tmp_path: Path) -> None:
    assert "there is no decision yet" in _suggest(make_home(tmp_path / "empty"))
    suggestions_path(home, judged[1].decision_id).unlink()
    assert f"decision {judged[1].decision_id}" in _suggest(home)
    assert "came without suggestions" in _suggest(home)
    assert json.loads(_suggest(home, "--json", "--queue"))["added_to_queue"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"suggestions": 1}, "suggestions must be a list"),
        ({"days": "x"}, "days must be a whole number"),
        ({"more": 1}, "more is not known"),
        ({"decision_id": "2026-01-01_000000_00000000"}, "it is about decision 2026-01-01_000000_00000000"),
    ],
)
def test_a_damaged_file_of_suggestions_is_one_message(
    home: Home, judged: tuple[Home, PromotionDecision], change: dict[str, object], words: str
) -> None:
    edit_json(suggestions_path(home, judged[1].decision_id), change)
    assert words in _fails(home)


def test_a_label_store_that_cannot_be_read_is_one_message(home: Home) -> None:
    home.labels.write_bytes(b"torn")
    assert "labels.parquet cannot be read" in _fails(home)
