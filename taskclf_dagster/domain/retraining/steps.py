"""Skips and decided runs: finds the reason to skip a retrain, and records the last decided run."""

from contextlib import suppress
from datetime import datetime

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.frame_parts import Rows, as_parts
from taskclf_dagster.domain.data.label_fingerprints import forget_other_fingerprints, keep_fingerprints
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.data.snapshot_places import snapshot_folder
from taskclf_dagster.domain.data.snapshot_rows import holds_every_label_of
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_events import write_decision_events
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided, write_last_decided
from taskclf_dagster.domain.retraining.present_policy import find_differing_keys
from taskclf_dagster.errors import SnapshotError, UnsafeFileSystemError
from taskclf_dagster.home import Home


def find_skip_reason(home: Home, rows: Rows, config: RetrainConfig) -> str | None:
    """Returns the reason to skip: the last decided snapshot had every labeled window with the same label. None if there is none.

    If the policy changed since that decision, the reason names what judges the last challenger again.
    """
    last = read_last_decided(home)
    if last is None or (last.rows is not None and last.rows < sum(as_parts(rows).sizes)):
        return None
    try:
        folder = snapshot_folder(home, last.snapshot_path)
    except SnapshotError:
        return None
    if not holds_every_label_of(folder, last.dataset_hash, rows):
        return None
    seen = f"the run of {last.decided_at:%Y-%m-%d %H:%M %Z} ({last.outcome}) already saw all {sum(as_parts(rows).sizes)} labelled windows"
    decisions = (decision for decision in list_decisions(home)[0] if not decision.options.dry_run)
    judged = next((decision for decision in decisions if decision.dataset.dataset_hash == last.dataset_hash), None)
    changed = [] if judged is None else find_differing_keys(judged, config)
    again = f" The policy changed: {', '.join(changed)}. `taskclf-dagster decide` judges the last challenger by it." if changed else ""
    return f"no new labels: {seen}. Label more minutes, or launch with force to train again all the same.{again}"


def remember_labels(home: Home, fingerprints: npt.NDArray[np.uint64]) -> None:
    """Stores the fingerprints of the label store as a run read it, so that changes while it decides are counted later."""
    keep_fingerprints(home.decisions, fingerprints)


def remember_skip(home: Home, snapshot: DatasetSnapshot, *, run_id: str, at: datetime) -> None:
    """Records a skip as the last decided run; the snapshot of the last decision stays the one to compare with."""
    last = read_last_decided(home)
    if last is not None:
        update = {"outcome": "SKIP", "decided_at": at, "as_of": snapshot.as_of, "run_id": run_id, "decision_id": None}
        _remember(home, last.model_copy(update={**update, "label_watermark": snapshot.label_watermark}))


def remember_decision(
    home: Home, decision: PromotionDecision, *, run_id: str, at: datetime, trained_at: datetime | None = None
) -> LastDecided | None:
    """Records a decision that is in effect as the last decided run, and writes its events; a dry run does neither.

    Args:
        home: the taskclf home.
        decision: the decision.
        run_id: the run that decided.
        at: the time of the decision.
        trained_at: the time at which an earlier run trained the challenger; None if this run did.

    Returns:
        The record; None for a dry run.
    """
    if decision.options.dry_run:
        return None
    last = LastDecided(
        outcome=decision.verdict,
        decided_at=at,
        as_of=decision.as_of,
        run_id=run_id,
        decision_id=decision.decision_id,
        dataset_hash=decision.dataset.dataset_hash,
        snapshot_path=decision.dataset.path,
        label_watermark=decision.dataset.label_watermark,
        trained_at=trained_at or at,
        rows=sum(decision.dataset.split.values()),
        settings=None if decision.training is None else decision.training.model_copy(update={"search": None}),
    )
    _remember(home, last, decision)
    return last


def _remember(home: Home, last: LastDecided, decision: PromotionDecision | None = None) -> None:
    """Writes the last decided run, and removes fingerprints of label stores that other runs saw.

    Then writes its events, after those of the run before if that was interrupted.
    """
    reported = _write_events(home)
    write_last_decided(home, last)
    forget_other_fingerprints(home.decisions, last.label_watermark)
    _write_events(home, last, decision, reported)


def _write_events(
    home: Home, last: LastDecided | None = None, decision: PromotionDecision | None = None, reported: object = None
) -> object:
    """Writes missing events as `write_decision_events`. A failure does not fail the run: the delivery of events retries."""
    with suppress(OSError, UnsafeFileSystemError):
        return write_decision_events(home, last, decision, reported)
    return None


def remember_if_forgotten(home: Home, decision: PromotionDecision, *, run_id: str, at: datetime, trained_at: datetime | None) -> None:
    """Records a decision of a run that ended before it was recorded, or that judged a challenger again, unless a later one was recorded."""
    last = read_last_decided(home)
    if last is None or (last.as_of <= decision.as_of and last.decision_id != decision.decision_id):
        remember_decision(home, decision, run_id=run_id, at=at, trained_at=trained_at)
