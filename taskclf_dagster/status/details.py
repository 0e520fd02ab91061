"""One decision and one model in detail, as the API shows them: records and their readers.

People are in numbers here, never by name. Reads only.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import ReceiptCache, list_decisions
from taskclf_dagster.domain.models.bundle import ModelBundle
from taskclf_dagster.domain.models.bundle_files import MODEL_CARD
from taskclf_dagster.domain.models.bundle_paths import find_bundle, is_model_id
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.retention import find_awaiting
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.errors import BundleError
from taskclf_dagster.home import Home
from taskclf_dagster.status.decision_records import DecisionSummary
from taskclf_dagster.status.decision_views import summarize_decision
from taskclf_dagster.status.job_history import REPORT_PATH
from taskclf_dagster.status.records import WireView

MAX_CARD_BYTES = 256 * 1024


Place = Literal["promoted", "undecided", "pending", "rejected", "removed"]
"""The place of a bundle: models/, or a folder of artifacts/; removed if only the history names it."""


class OptionsView(WireView):
    """The options that a retrain was launched with."""

    dry_run: bool
    forced: bool
    bootstrap: bool


class DatasetView(WireView):
    """The dataset of a decision.

    Attributes:
        hash: first 16 hex digits of its digest.
        split: number of windows of each part.
        labels_until: start of the newest labeled window; None without one.
        holdout_users: number of users that were held out of training.
        summary: whether its labels are enough, and what to label.
    """

    hash: str
    split: dict[str, int]
    labels_until: datetime | None
    holdout_users: int
    summary: str


class TrainingView(WireView):
    """The settings that a model was trained with.

    Attributes:
        num_leaves: largest number of leaves of a tree.
        uses_older: True if windows before the look-back teach.
        seeds: number of fits that are averaged.
        searched_at: as-of time of the search that found them; None if none did.
        reason: how they came about.
        recipe: the trainer of its trees; None for decisions that are older.
    """

    num_leaves: int
    uses_older: bool
    seeds: int
    searched_at: datetime | None
    reason: str
    recipe: str | None


class DecisionDetail(DecisionSummary):
    """A decision with what it was made of.

    Attributes:
        reason: reason of the verdict, as the receipt has it.
        options: of its retrain.
        dataset: its dataset.
        training: how its model was trained; None in receipts that are older than these settings.
        protections: what protected the decision.
        receipt_hash: SHA-256 of the receipt's content.
        signed: True if the receipt has a signature; whether it is a trusted one is checked when the decision is carried out.
    """

    reason: str
    options: OptionsView
    dataset: DatasetView
    training: TrainingView | None
    protections: list[str]
    receipt_hash: str
    signed: bool


class StoredMetrics(WireView):
    """The scores that a bundle states: of its validation split, without reject [0 to 1, higher is better]."""

    macro_f1: float
    weighted_f1: float


class MoveView(WireView):
    """One time that a model became the active one.

    Attributes:
        at: time of the change.
        action: kind of the change; None if another program made it.
        sequence: number of the history record; None if another program made it.
        from_model: the model before; None if there was none.
        reason: reason of the change.
        decision_id: the decision that led to it; None if none did.
        run_id: the run that made it; None if none did.
    """

    at: datetime
    action: str | None
    sequence: int | None
    from_model: str | None
    reason: str | None
    decision_id: str | None
    run_id: str | None


class ModelDetail(WireView):
    """A model.

    Attributes:
        place: where its bundle is.
        problem: why it cannot run; None if it can, or was removed.
        metrics: its stored scores; None if its bundle cannot be read.
        trained_at: time of its training; None if its bundle cannot be read.
        decision_id: the last decision about it; None if there is none.
        active: True if taskclf runs it.
        blocked: True if a rollback left it, so that it is not promoted again.
        model_card: its model card in Markdown; None without one.
        moves: when it became active, oldest first.
    """

    model_id: str
    place: Place
    problem: str | None
    metrics: StoredMetrics | None
    trained_at: datetime | None
    decision_id: str | None
    active: bool
    blocked: bool
    model_card: str | None
    moves: list[MoveView]


def describe_decision(home: Home, decision: PromotionDecision, receipts: ReceiptCache, *, reports: str = REPORT_PATH) -> DecisionDetail:
    """Returns a decision in detail.

    Args:
        home: the taskclf home.
        decision: a decision of it.
        receipts: those that were read already.
        reports: the path of its reports on the web server.
    """
    state = read_registry_state(home)
    moved = next((entry.sequence for entry in state.history.moves if entry.decision_id == decision.decision_id), None)
    awaiting = find_awaiting(state, list_decisions(home, receipts)[0]) if decision.verdict == "AWAITING_APPROVAL" else []
    summary = summarize_decision(
        decision, moved=moved, waits=decision.decision_id in {other.decision_id for other in awaiting}, reports=reports
    )
    dataset, training = decision.dataset, decision.training
    return DecisionDetail(
        **dict(summary),
        reason=decision.reason,
        options=OptionsView.model_validate(decision.options.model_dump()),
        dataset=DatasetView(
            hash=dataset.dataset_hash,
            split=dataset.split,
            labels_until=dataset.labels_until,
            holdout_users=len(dataset.holdout_users),
            summary=dataset.feasibility.summary,
        ),
        training=None
        if training is None
        else TrainingView(
            num_leaves=training.choice.num_leaves,
            uses_older=training.choice.uses_older,
            seeds=training.choice.seeds,
            searched_at=training.searched_at,
            reason=training.reason,
            recipe=None if decision.recipe is None else decision.recipe.describe(),
        ),
        protections=decision.protections,
        receipt_hash=decision.decision_hash,
        signed=decision.signature is not None,
    )


def read_model(home: Home, model_id: str, receipts: ReceiptCache) -> ModelDetail | None:
    """Returns a model in detail; None if neither a bundle nor the history has this id."""
    if not is_model_id(model_id):
        return None
    state, folder = read_registry_state(home), find_bundle(home, model_id)
    moves = _describe_moves(state, model_id)
    if folder is None and not moves and model_id not in state.history.pruned:
        return None
    bundle = None if folder is None else _parse(state, folder)
    about = (decision for decision in list_decisions(home, receipts)[0] if decision.challenger.model_id == model_id)
    metrics = None if bundle is None or bundle.metrics is None else bundle.metrics
    return ModelDetail(
        model_id=model_id,
        place="removed" if folder is None else _place_of(home, folder),
        problem=None if folder is None else _find_problem(state, folder),
        metrics=None if metrics is None else StoredMetrics(macro_f1=metrics.macro_f1, weighted_f1=metrics.weighted_f1),
        trained_at=None if bundle is None else bundle.created_at,
        decision_id=next((decision.decision_id for decision in about), None),
        active=find_active_model(state).model_id == model_id,
        blocked=model_id in state.history.blocked,
        model_card=None if folder is None else _read_card(folder),
        moves=moves,
    )


def _describe_moves(state: RegistryState, model_id: str) -> list[MoveView]:
    return [
        MoveView(
            at=entry.at,
            action=entry.action,
            sequence=entry.sequence,
            from_model=None if entry.old is None else entry.old.name,
            reason=entry.reason,
            decision_id=entry.decision_id,
            run_id=entry.run_id,
        )
        for entry in state.history.moves
        if entry.new is not None and entry.new.name == model_id
    ]


def _place_of(home: Home, folder: Path) -> Place:
    places: dict[Path, Place] = {home.models: "promoted", home.challengers: "undecided", home.pending_models: "pending"}
    return places.get(folder.parent, "rejected")


def _parse(state: RegistryState, folder: Path) -> ModelBundle | None:
    try:
        return state.bundles.parsed(folder)
    except BundleError:
        return None


def _find_problem(state: RegistryState, folder: Path) -> str | None:
    try:
        problem = state.bundles.problem(folder)
    except BundleError as error:
        return error.reason
    return None if problem is None else problem.reason


def _read_card(folder: Path) -> str | None:
    try:
        with (folder / MODEL_CARD).open("rb") as file:
            return file.read(MAX_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
