"""Applying a decision: promoted, set aside or applied already; remembered once; and retention afterwards, which may fail."""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, read_last_decided
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.retraining.apply_decision import AppliedDecision, apply_decision
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.errors import DecisionNotVerifiedError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, all_gates, contents, infeasible
from taskclf_dagster_tests.registry_scenario import MODELS, find_no_difference, judged, promoted, write_variant
from taskclf_dagster_tests.scenario import DAY, make_home, retrain_config

LATER = AT + 10 * DAY
SET_ASIDE: dict[str, tuple[str, Callable[[Home], PromotionDecision]]] = {
    "REJECT": ("rejected_models", lambda home: judged(home, gates=all_gates(macro_f1="FAIL"))),
    "HOLD": ("pending_models", lambda home: judged(home, feasibility=infeasible())),
    "AWAITING_APPROVAL": ("pending_models", lambda home: judged(home, auto_promote=False)),
    "PROMOTE (dry run)": ("rejected_models", lambda home: judged(home, dry_run=True)),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """OLD ran, MID runs."""
    return promoted(make_home(tmp_path), OLD, MID)


apply = partial(apply_decision, recompute=find_no_difference)


def applied(home: Home, decision: PromotionDecision) -> AppliedDecision:
    return apply(home, decision, settings=decision.settings, run_id="run-1", at=LATER)


def test_a_decision_that_promotes_moves_the_pointer_and_is_remembered(home: Home) -> None:
    decision = judged(home)
    result = applied(home, decision)
    assert (result.outcome, result.bundle, result.retention_problem) == ("promoted", home.models / NEW, None)
    assert result.pointer == read_active(home)
    assert result.pointer is not None
    assert (result.pointer.name, result.pointer.selected_at) == (NEW, LATER)
    assert result.previous is not None
    assert result.previous.name == MID
    move = read_history(home).last_move
    assert move is not None
    assert (move.decision_id, move.run_id) == (decision.decision_id, "run-1")
    last = read_last_decided(home)
    assert last is not None
    assert (last.outcome, last.decision_id, last.run_id, last.decided_at) == ("PROMOTE", decision.decision_id, "run-1", LATER)


@pytest.mark.parametrize("verdict", SET_ASIDE)
def test_any_other_decision_sets_the_challenger_aside_and_leaves_models_as_it_is(home: Home, verdict: str) -> None:
    folder, decide = SET_ASIDE[verdict]
    decision, before = decide(home), contents(home.models)
    result = applied(home, decision)
    assert decision.outcome == verdict
    assert (result.outcome, result.bundle) == ("set_aside", getattr(home, folder) / NEW)
    assert (result.pointer, result.previous) == (None, None)
    assert result.bundle is not None
    assert (result.bundle / "model.txt").is_file()
    assert not (home.challengers / NEW).exists()
    assert contents(home.models) == before
    last = read_last_decided(home)
    assert (last is None) if decision.options.dry_run else (last is not None and last.decision_id == decision.decision_id)


@pytest.mark.parametrize("decide", [judged, SET_ASIDE["REJECT"][1]], ids=["promoted", "rejected"])
def test_a_decision_that_was_applied_already_changes_nothing_more(home: Home, decide: Callable[[Home], PromotionDecision]) -> None:
    decision = decide(home)
    bundle, before = applied(home, decision).bundle, contents(home.root)
    again = apply(home, decision, settings=decision.settings, run_id="run-2", at=LATER + DAY)
    assert (again.outcome, again.bundle, again.pointer) == ("already_applied", bundle, None)
    assert contents(home.root) == before


def test_a_decision_whose_run_ended_before_it_was_remembered_is_remembered_by_the_next(home: Home) -> None:
    decision = judged(home)
    applied(home, decision)
    (home.decisions / LAST_DECIDED).unlink()
    assert apply(home, decision, settings=decision.settings, run_id="run-2", at=LATER + DAY).outcome == "already_applied"
    last = read_last_decided(home)
    assert last is not None
    assert (last.decision_id, last.run_id) == (decision.decision_id, "run-2")


@pytest.mark.parametrize("decide", [judged, SET_ASIDE["REJECT"][1]], ids=["promotes", "rejects"])
def test_a_decision_that_does_not_hold_is_refused_and_changes_nothing(home: Home, decide: Callable[[Home], PromotionDecision]) -> None:
    forged = decide(home).model_copy(update={"reason": "because I say so"})
    before = contents(home.root)
    with pytest.raises(DecisionNotVerifiedError):
        applied(home, forged)
    assert contents(home.root) == before


# --- Retention --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(tmp_path: Path) -> Home:
    """Five models came to run one after another, and one was rejected; the settings of `small` keep one of each."""
    home = promoted(make_home(tmp_path), *MODELS[:5])
    write_variant(home.rejected_models / MODELS[6])
    return home


def small(home: Home, **options: object) -> PromotionDecision:
    return judged(home, policy=retrain_config(keep_versions=1, keep_rejected=1, auto_promote=True).policy, **options)


def lost(result: AppliedDecision) -> set[tuple[str, str]]:
    return {(item.kind, item.name) for item in result.removed if item.kind in ("promoted", "rejected")}


def test_after_a_promotion_retention_removes_what_the_receipts_settings_no_longer_keep(full: Home) -> None:
    decision = small(full)
    result = apply(full, decision, settings=decision.settings, run_id="run-1", at=AT + 200 * DAY)
    assert lost(result) == {("promoted", name) for name in MODELS[:4]}
    assert not (full.models / MODELS[0]).exists()


def test_without_a_promotion_retention_leaves_promoted_models_alone(full: Home) -> None:
    before = contents(full.models)
    decision = small(full, gates=all_gates(macro_f1="FAIL"))
    result = apply(full, decision, settings=decision.settings, run_id="run-1", at=AT + 200 * DAY)
    assert lost(result) == {("rejected", MODELS[6])}
    assert contents(full.models) == before


class _KeepsRejected(FileSystem):
    """Fails where a file of a rejected bundle is to be removed."""

    def remove_file(self, path: Path) -> None:
        if path.parent.parent.name == "rejected_models":
            raise OSError(errno.EACCES, "not allowed", str(path))
        super().remove_file(path)


def test_a_retention_that_fails_is_reported_and_the_decision_stands(full: Home) -> None:
    decision = small(full)
    write_variant(full.rejected_models / MODELS[7])
    with use_file_system(_KeepsRejected()):
        result = apply(full, decision, settings=decision.settings, run_id="run-1", at=AT + 200 * DAY)
    assert (result.outcome, result.removed) == ("promoted", ())
    assert result.retention_problem is not None
    assert MODELS[6] in result.retention_problem
    pointer, last = read_active(full), read_last_decided(full)
    assert pointer is not None
    assert pointer.name == NEW
    assert last is not None
    assert last.decision_id == decision.decision_id
