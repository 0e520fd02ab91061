"""Retention: the newest stay, and so does everything that a promise still needs; the rest goes whole and on record."""

import errno
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import report_path, save_decision
from taskclf_dagster.domain.decision.last_decided import LastDecided, write_last_decided
from taskclf_dagster.domain.decision.references import ModelRef
from taskclf_dagster.domain.decision.suggestion_store import LabelSuggestions, save_suggestions, suggestions_path
from taskclf_dagster.domain.models.bundle_files import METADATA, MODEL, bundle_hashes
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.anchors import find_anchors
from taskclf_dagster.domain.registry.applied_decisions import put_aside
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import PrunePlan, plan_prune, prune
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.storage.files import write_json, write_text
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    AT,
    a_decision,
    all_gates,
    change_a_leaf,
    contents,
    edit_json,
    point_at,
    pointer_to,
    write_policy,
    write_tiny_bundle,
)
from taskclf_dagster_tests.registry_scenario import (
    MODELS,
    actions,
    damage,
    findings,
    history_lines,
    judged,
    promote,
    promoted,
    set_active,
    write_variant,
)
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home

FAR = AT + 200 * DAY
"""When nothing that the tests promote is an anchor any more."""

A, B, C, D, E, F = MODELS[:6]
REJECTED = [f"2026-02-{10 + i}_000000_run-0000" for i in range(5)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def six(home: Home) -> Home:
    """A to F were promoted in this order; F runs."""
    return promoted(home, A, B, C, D, E, F)


def plan(home: Home, *, versions: int = 0, rejected: int = 0, **options: object) -> PrunePlan:
    return plan_prune(home, keep_versions=versions, keep_rejected=rejected, **{"at": FAR, **options})


def removed(home: Home, *, versions: int = 0, rejected: int = 0, **options: object) -> PrunePlan:
    return prune(home, keep_versions=versions, keep_rejected=rejected, **{"at": FAR, **options})


def going(found: PrunePlan, kind: str = "promoted") -> list[str]:
    return [item.name for item in found.remove if item.kind == kind]


def lying(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


# --- The newest stay --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "gone"), [(6, []), (5, [A]), (3, [C, B, A]), (2, [D, C, B, A]), (0, [D, C, B, A])])
def test_the_models_promoted_last_stay(six: Home, keep: int, gone: list[str]) -> None:
    assert going(plan(six, versions=keep)) == gone  # of two, the one that runs and the one before are reachable in any case
    removed(six, versions=keep)
    assert lying(six.models) == [name for name in MODELS[:6] if name not in gone]


@pytest.mark.parametrize("harm", [lambda folder: (folder / MODEL).unlink(), change_a_leaf], ids=["without model.txt", "another leaf"])
def test_damaged_ones_do_not_count_and_go(six: Home, harm: Callable[[Path], object]) -> None:
    harm(six.models / D)
    found = removed(six, versions=3)
    assert {item.name: "3" in item.reason for item in found.remove if item.kind == "promoted"} == {D: False, B: True, A: True}
    assert lying(six.models) == [C, E, F]


def test_a_damaged_one_that_is_reachable_stays_but_does_not_count_either(six: Home) -> None:
    (six.models / E / MODEL).unlink()  # an anchor, like all but A
    assert going(plan(six, versions=5, at=AT + 10 * DAY)) == []
    assert going(plan(six, versions=4, at=AT + 10 * DAY)) == [A]


def test_the_newest_are_those_that_came_to_run_last_whatever_their_names(six: Home) -> None:
    rollback(six, to=A, reason="worse", at=AT + 10 * DAY)
    assert going(plan(six, versions=2)) == [D, C, B]  # A runs, F ran before, E is the target of a rollback


def test_rejected_and_waiting_bundles_have_a_number_of_their_own(six: Home) -> None:
    for i, name in enumerate(REJECTED):
        write_tiny_bundle([six.rejected_models, six.pending_models][i % 2] / name)
    found = removed(six, versions=9, rejected=2)
    assert going(found, "rejected") == REJECTED[2::-1]
    assert going(found) == []
    assert sorted(lying(six.rejected_models) + lying(six.pending_models)) == REJECTED[3:]


def test_damaged_rejected_bundles_do_not_count_and_go(six: Home) -> None:
    for name in REJECTED:
        write_tiny_bundle(six.rejected_models / name)
    (six.rejected_models / REJECTED[-1] / MODEL).unlink()
    removed(six, versions=9, rejected=2)
    assert lying(six.rejected_models) == REJECTED[2:4]


def test_what_a_training_is_writing_stays_however_old_its_time_says_it_is(six: Home) -> None:
    half = six.challengers / f".{REJECTED[0]}.0123.tmp"
    half.mkdir(parents=True)
    (half / MODEL).write_text("tree", encoding="utf-8")
    os.utime(half, (0, 0))
    assert half.name not in {item.name for item in removed(six, rejected=0).remove}


def test_promoted_bundles_are_left_if_only_the_others_are_asked_for(six: Home) -> None:
    write_tiny_bundle(six.rejected_models / REJECTED[0])
    history = six.active_history.read_bytes()
    found = removed(six, promoted=False)
    assert (going(found), going(found, "rejected")) == ([], [REJECTED[0]])
    assert lying(six.models) == MODELS[:6]
    assert six.active_history.read_bytes() == history


# --- What is reachable stays ------------------------------------------------------------------------------------------------------------


def stays(home: Home, model_id: str, reason: str, *, at: object = FAR) -> None:
    """The model is kept for this reason, also when everything that may go is removed."""
    found = plan(home, at=at)
    assert found.reachable.get(model_id) == reason
    assert model_id not in going(found) + going(found, "rejected")
    removed(home, at=at)
    assert find_bundle(home, model_id) is not None


def goes(home: Home, model_id: str, *, at: object = FAR) -> None:
    assert model_id not in plan(home, at=at).reachable
    removed(home, at=at)
    assert find_bundle(home, model_id) is None


def test_the_active_model_stays(six: Home) -> None:
    stays(six, F, "active")


def test_the_active_model_stays_even_if_it_is_the_one_that_was_rolled_back(six: Home) -> None:
    rollback(six, to=None, reason="worse", at=AT + 10 * DAY)
    set_active(six, F)  # a person insists
    stays(six, F, "active")


def test_the_model_of_the_inference_policy_stays(six: Home) -> None:
    write_policy(six, A)
    stays(six, A, "named by the inference policy")


def test_a_model_that_the_policy_does_not_name_goes(six: Home) -> None:
    goes(six, A)


def test_the_last_known_good_stays(six: Home) -> None:
    change_a_leaf(six.models / F)
    assert E in plan(six).reachable
    removed(six)  # which repairs first, so that E is active
    assert read_active(six).name == E
    assert E in lying(six.models)


def test_what_a_rollback_goes_back_to_stays(six: Home) -> None:
    stays(six, E, "the target of a rollback")
    assert rollback(six, to=None, reason="worse", at=FAR).name == E


def test_what_a_rollback_goes_back_to_is_the_next_that_can_run(six: Home) -> None:
    (six.models / E / MODEL).unlink()
    stays(six, D, "the target of a rollback")
    assert rollback(six, to=None, reason="worse", at=FAR).name == D


@pytest.mark.parametrize(("after", "is_anchor"), [(timedelta(days=60), True), (timedelta(days=60, seconds=1), False)])
def test_a_model_that_came_to_run_within_60_days_stays(six: Home, after: timedelta, *, is_anchor: bool) -> None:
    at = AT + 3 * DAY + after  # D was promoted at AT + 3 days
    if is_anchor:
        stays(six, D, "anchor", at=at)
    else:
        goes(six, D, at=at)


def test_of_the_anchors_the_newest_five_stay(home: Home) -> None:
    promoted(home, *MODELS)
    at = AT + 10 * DAY
    assert [name for name, _ in find_anchors(read_history(home), as_of=at)] == MODELS[:2:-1]
    removed(home, at=at)
    assert lying(home.models) == MODELS[3:]


def test_a_model_that_was_rolled_back_is_no_anchor_and_makes_room_for_none(home: Home) -> None:
    promoted(home, *MODELS)
    rollback(home, to=None, reason="worse", at=AT + 9 * DAY)
    anchors = [name for name, _ in find_anchors(read_history(home), as_of=AT + 10 * DAY)]
    assert anchors == [MODELS[6], *MODELS[5:1:-1]]
    goes(home, MODELS[7], at=AT + 10 * DAY)


def test_a_model_is_an_anchor_since_it_ran_last_and_only_once(six: Home) -> None:
    rollback(six, to=A, reason="worse", at=AT + 50 * DAY)
    anchors = find_anchors(read_history(six), as_of=AT + 51 * DAY)
    assert anchors[0] == (A, AT + 50 * DAY)
    assert [name for name, _ in anchors] == [A, E, D, C, B]


def test_times_without_a_zone_in_the_history_are_no_obstacle(six: Home) -> None:
    set_active(six, A, at=(AT + 10 * DAY).replace(tzinfo=None))
    assert find_anchors(read_history(six), as_of=AT + 11 * DAY)[0][0] == A


def waiting(home: Home, model_id: str = REJECTED[0], **changes: object) -> PromotionDecision:
    write_variant(home.challengers / model_id, variant=12)
    decision = judged(home, model_id, **{"auto_promote": False, **changes})
    put_aside(home, decision)
    return decision


def test_what_awaits_approval_stays(six: Home) -> None:
    waiting(six)
    stays(six, REJECTED[0], "awaiting approval")


AWAITING_NO_MORE: dict[str, Callable[[Home], object]] = {
    "the pointer moved": lambda home: point_at(home, E),
    "the policy changed": lambda home: write_policy(home, F),
    "later labels were decided": lambda home: save_decision(home, a_decision(home, as_of=AS_OF + DAY, label_watermark="1" * 16)),
    "its record was damaged": lambda home: [path.write_text("{") for path in home.decisions.glob("*") if REJECTED[0] in path.read_text()],
}


@pytest.mark.parametrize("name", AWAITING_NO_MORE)
def test_what_cannot_be_approved_any_more_goes(six: Home, name: str) -> None:
    waiting(six)
    AWAITING_NO_MORE[name](six)
    goes(six, REJECTED[0])


@pytest.mark.parametrize("changes", [{"gates": all_gates(macro_f1="ERROR")}, {"dry_run": True}], ids=["HOLD", "dry run"])
def test_what_was_never_to_be_approved_goes(six: Home, changes: dict[str, object]) -> None:
    waiting(six, **changes)
    goes(six, REJECTED[0])


@pytest.mark.parametrize("before", [True, False], ids=["sorted before it", "sorted behind it"])
def test_what_awaits_approval_stays_whatever_else_was_decided_about_it(six: Home, *, before: bool) -> None:
    # The decision can be made again about the same challenger, say after a dry run; two records of one as_of are sorted by their hashes.
    waits = waiting(six)
    others = (a_decision(six, REJECTED[0], auto_promote=False, dry_run=True, code_version=str(i)) for i in range(1000))
    save_decision(six, next(other for other in others if (other.decision_id > waits.decision_id) == before))
    stays(six, REJECTED[0], "awaiting approval")


def test_the_challenger_of_the_last_run_stays(six: Home) -> None:
    for name in REJECTED[:2]:
        write_tiny_bundle(six.challengers / name)
    write_json(six.records / "challenger_model" / "latest.json", {"model_id": REJECTED[0]})
    stays(six, REJECTED[0], "made by the last run")
    assert lying(six.challengers) == [REJECTED[0]]


def test_the_champion_that_a_reachable_receipt_names_stays(home: Home) -> None:
    promoted(home, A, B, C)
    champion = ModelRef(model_id=A, files=bundle_hashes(home.models / A), report_hash="2" * 64, macro_f1=None, weighted_f1=None)
    promote(home, judged(home, D, champion_model=champion, champion_model_dir=f"models/{A}"), at=AT + 4 * DAY)
    promote(home, judged(home, E), at=AT + 5 * DAY)
    stays(home, A, f"named by the receipt of {D}")
    assert lying(home.models) == [A, D, E]


def test_bundles_of_another_program_that_never_ran_are_left(six: Home) -> None:
    write_tiny_bundle(six.models / "foreign")
    removed(six)
    assert "foreign" in lying(six.models)


def test_bundles_of_another_program_that_ran_are_kept_like_ours(six: Home) -> None:
    for i, name in enumerate(("foreign-1", "foreign-2", "foreign-3")):
        write_tiny_bundle(six.models / name)
        set_active(six, name, at=AT + (10 + i) * DAY)
    assert going(plan(six, versions=2)) == ["foreign-1", E, D, C, B, A]  # the policy still names F


@pytest.mark.parametrize("model_dir", [".", "..", "models", "models/..", "models/.staging", "artifacts", "models/.lock", "/"])
def test_a_history_that_names_something_else_than_a_bundle_makes_nothing_of_it_go(six: Home, model_dir: str) -> None:
    line = {"at": "2026-01-05T00:00:00+00:00", "old": None, "new": pointer_to("x", model_dir=model_dir)}
    six.active_history.write_bytes(json.dumps(line).encode() + b"\n" + six.active_history.read_bytes())
    (six.artifacts / "kept.txt").write_text("x", encoding="utf-8")
    removed(six, versions=5)
    assert lying(six.models) == MODELS[1:6]
    assert (six.artifacts / "kept.txt").exists()


# --- What belongs to models that are gone -----------------------------------------------------------------------------------------------


def keep_data_of(home: Home, dataset: str) -> None:
    for folder in (home.snapshots, home.predictions):
        (folder / dataset).mkdir(parents=True)
        (folder / dataset / "windows.parquet").write_bytes(b"PAR1")


def test_snapshots_and_predictions_stay_as_long_as_a_model_that_was_made_or_judged_on_them(six: Home) -> None:
    made, judged_on, last, gone = datasets = [digit * 16 for digit in "abcd"]
    for dataset in datasets:
        keep_data_of(six, dataset)
    edit_json(write_variant(six.rejected_models / REJECTED[3]) / METADATA, {"dataset_hash": made})
    write_variant(six.rejected_models / REJECTED[4])
    save_decision(six, a_decision(six, REJECTED[4], gates=all_gates(macro_f1="FAIL"), dataset_hash=judged_on))
    save_decision(six, a_decision(six, REJECTED[0], gates=all_gates(macro_f1="FAIL"), dataset_hash=gone))
    write_json(six.records / "dataset_snapshot" / "latest.json", {"dataset_hash": last})
    found = removed(six, versions=9, rejected=2)
    assert (going(found, "snapshot"), going(found, "predictions")) == ([gone], [gone])
    assert lying(six.snapshots) == lying(six.predictions) == [made, judged_on, last]


def last_decided(home: Home, decision: PromotionDecision) -> None:
    write_last_decided(
        home,
        LastDecided(
            outcome="REJECT",
            decided_at=AT,
            as_of=AS_OF,
            run_id="r",
            decision_id=decision.decision_id,
            dataset_hash=decision.dataset.dataset_hash,
            snapshot_path=f"artifacts/snapshots/{decision.dataset.dataset_hash}",
            label_watermark="0" * 16,
        ),
    )


def test_receipt_and_snapshot_of_the_last_decided_run_stay_though_its_model_is_gone(six: Home) -> None:
    decision = judged(six, REJECTED[0], gates=all_gates(macro_f1="FAIL"), dataset_hash="e" * 16)
    put_aside(six, decision)
    keep_data_of(six, "e" * 16)
    last_decided(six, decision)
    found = removed(six)
    assert REJECTED[0] in going(found, "rejected")
    assert lying(six.snapshots) == ["e" * 16]
    assert (six.decisions / f"{decision.decision_id}.json").exists()
    assert (six.decisions / "last_decided.json").exists()


def test_the_receipt_of_a_model_that_is_gone_goes_unless_the_history_names_it(six: Home) -> None:
    rejected = judged(six, REJECTED[0], gates=all_gates(macro_f1="FAIL"))
    put_aside(six, rejected)
    stays = history_lines(six)[0]["decision_id"]
    for decision_id in (rejected.decision_id, stays):
        save_suggestions(six, LabelSuggestions(decision_id=decision_id, as_of=AT, days=7, suggestions=()))
        write_text(report_path(six, decision_id), "<!doctype html>")
    orphan = "2026-01-01_000000_0a963156"
    write_text(report_path(six, orphan), "<!doctype html>")
    write_text(six.reports / "notes.txt", "of a person")
    promotions = [line["decision_id"] for line in history_lines(six)]
    found = removed(six)
    assert going(found, "receipt") == going(found, "suggestions") == [rejected.decision_id]
    assert sorted(going(found, "report")) == sorted([orphan, rejected.decision_id])
    assert sorted(six.reports.iterdir()) == sorted([report_path(six, stays), six.reports / "notes.txt"])
    (six.reports / "notes.txt").unlink()
    assert list(six.suggestions.iterdir()) == [suggestions_path(six, stays)]
    assert A not in lying(six.models)
    assert sorted(path.stem for path in six.decisions.iterdir()) == sorted(promotions)
    assert findings(six) == []


def test_the_receipt_of_a_model_that_stays_stays(six: Home) -> None:
    rejected = judged(six, REJECTED[0], gates=all_gates(macro_f1="FAIL"))
    put_aside(six, rejected)
    assert going(removed(six, rejected=1), "receipt") == []
    assert (six.decisions / f"{rejected.decision_id}.json").exists()


def test_of_the_records_of_each_asset_the_newest_stay_and_so_does_the_latest(six: Home) -> None:
    folder = six.records / "challenger_report"
    names = ["of-0.1", "000008-z", "000009-y", "000010-x", "999999-w", "1000000-v"]
    for i, name in enumerate(names):
        write_json(folder / f"{name}.json", {})
        os.utime(folder / f"{name}.json", (9_000_000 - i, 9_000_000 - i))  # the clock went back all the time
    write_json(folder / "latest.json", {})
    found = removed(six, versions=2, rejected=1)
    assert sorted(going(found, "record")) == ["000008-z", "000009-y", "of-0.1"]
    assert sorted(path.stem for path in folder.iterdir()) == ["000010-x", "1000000-v", "999999-w", "latest"]


# --- How it goes ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(six: Home) -> Home:
    """A home with something of every kind that may go."""
    for name in REJECTED[:2]:
        put_aside(six, judged(six, name, gates=all_gates(macro_f1="FAIL")))
    keep_data_of(six, "f" * 16)
    for i in range(3):
        write_json(six.records / "promotion_decision" / f"run-{i}.json", {})
    return six


def test_the_plan_changes_nothing_and_lists_exactly_what_goes(full: Home) -> None:
    before = contents(full.root)
    planned = plan(full, versions=1, rejected=0)
    assert contents(full.root) == before
    assert removed(full, versions=1, rejected=0) == planned
    after = contents(full.root)
    gone = {name for name in before if name not in after}
    paths = [item.path for item in planned.remove]
    assert {item.kind for item in planned.remove} == {"promoted", "rejected", "snapshot", "predictions", "receipt", "record"}
    assert gone == {name for name in before if any(name == path or name.startswith(f"{path}/") for path in paths)}
    assert planned.bytes == sum(len(before[name]) for name in gone if before[name] != b"<folder>")


def test_a_second_time_nothing_goes(full: Home) -> None:
    removed(full, versions=1)
    before = contents(full.root)
    assert removed(full, versions=1).remove == []
    assert contents(full.root) == before


def test_the_history_says_once_what_went_and_the_pointer_stays(full: Home) -> None:
    pointer = full.active_pointer.read_bytes()
    removed(full, versions=3)
    assert full.active_pointer.read_bytes() == pointer
    assert actions(full)[6:] == [(7, "prune", F)]
    record = history_lines(full)[-1]
    assert (record["subject"], "3" in record["reason"]) == ([C, B, A], True)
    assert read_history(full).pruned == {A, B, C}
    assert findings(full) == []


def test_the_record_is_there_before_the_first_bundle_goes(six: Home) -> None:
    class Refusing(FileSystem):
        def rename(self, source: Path, target: Path) -> None:
            raise OSError(errno.EIO, "stuck", str(source))

    with use_file_system(Refusing()), pytest.raises(OSError, match="stuck"):
        removed(six, versions=3)
    assert [name for name in lying(six.models) if name != ".staging"] == MODELS[:6]
    assert (7, "prune", F) in actions(six)
    assert damage(six) == []
    removed(six, versions=3)
    assert lying(six.models) == [D, E, F]


class Stuck(FileSystem):
    """A file system on which the files of one bundle cannot be removed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def remove_file(self, path: Path) -> None:
        if self.name in str(path) and path.name == MODEL:
            raise OSError(errno.EIO, "stuck", str(path))
        super().remove_file(path)


def test_a_removal_that_fails_in_the_middle_leaves_no_half_bundle_in_models_and_is_finished_later(six: Home) -> None:
    with use_file_system(Stuck(C)), pytest.raises(OSError, match="stuck"):
        removed(six, versions=3)
    assert C not in lying(six.models)
    whole = contents(six.models / B)
    assert MODEL in whole
    assert (7, "prune", F) in actions(six)
    repair(six, at=FAR)
    assert not six.staging.exists()
    removed(six, versions=3)
    assert lying(six.models) == [D, E, F]
    assert findings(six) == []


def test_readers_never_see_half_a_bundle_while_one_goes(six: Home) -> None:
    class Watching(FileSystem):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def remove_file(self, path: Path) -> None:
            super().remove_file(path)
            for folder in six.models.iterdir():
                if folder.is_dir() and not folder.name.startswith(".") and not (folder / MODEL).exists():
                    self.seen.append(folder.name)

    watching = Watching()
    with use_file_system(watching):
        removed(six, versions=1)
    assert watching.seen == []
    assert lying(six.models) == [E, F]


def test_an_empty_home_has_nothing_to_go(home: Home) -> None:
    assert plan(home).remove == []
    assert removed(home).remove == []
    assert contents(home.models) == {}
