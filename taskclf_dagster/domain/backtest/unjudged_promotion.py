"""Puts a challenger into effect in a replayed home without its gates, for policies that have another rule than the gates."""

from datetime import datetime

from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.last_decided import LastDecided, write_last_decided
from taskclf_dagster.domain.decision.verdict import Verdict
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.registry.commit import commit
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.inference_policy import build_policy
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import make_pointer, metrics_of
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.files import move_folder, remove_tree
from taskclf_dagster.home import Home


def promote_unjudged(home: Home, challenger: ChallengerModel, *, at: datetime, rule: str, own_threshold: bool) -> None:
    """Moves a challenger into models/ and makes it active.

    Args:
        home: of a policy, never that of a person: no receipt stands behind the change.
        challenger: the challenger.
        at: the time of the change.
        rule: the rule of the policy, for the record.
        own_threshold: True to write the inference policy with the model's own reject threshold; False to leave the one that taskclf
            applies where there is no policy.

    Raises:
        BundleError: the challenger does not load.
    """
    with write_lock(home):
        move_folder(home.root / challenger.path, home.models / challenger.model_id)
        model, state = load_bundle(home.models / challenger.model_id), read_registry_state(home)
        sequence, metrics = state.history.sequence + 1, metrics_of(model)
        pointer = make_pointer(challenger.model_id, at=at, sequence=sequence, metrics=metrics, note=rule, decision_id=None)
        policy = build_policy(model, at=at, source="backtest") if own_threshold else None
        commit(state, ActiveHistoryEntry(at=at, old=state.pointer, new=pointer, action="promote", reason=rule, policy=policy))


def leave_unjudged(home: Home, challenger: ChallengerModel) -> None:
    """Removes a challenger that is not promoted."""
    remove_tree(home.root / challenger.path)


def remember_unjudged(home: Home, snapshot: DatasetSnapshot, challenger: ChallengerModel, outcome: Verdict, *, at: datetime) -> None:
    """Records a challenger as the last decided run."""
    last = LastDecided(
        outcome=outcome,
        decided_at=at,
        as_of=snapshot.as_of,
        run_id="backtest",
        decision_id=None,
        dataset_hash=snapshot.dataset_hash,
        snapshot_path=snapshot.path,
        label_watermark=snapshot.label_watermark,
        trained_at=at,
        rows=sum(snapshot.rows.values()),
        settings=challenger.settings.model_copy(update={"search": None}),
    )
    write_last_decided(home, last)
