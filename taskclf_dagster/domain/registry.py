"""The file registry: which model taskclf runs, and the only code that changes it (contract, sections 8 and 12).

Readers never write. Every change holds the lock of the models folder, appends to the history before it moves the pointer, and writes
each file atomically. How bundles are ranked belongs to `selection`, whether to promote to `decision`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from taskclf_dagster.domain.bundle import LoadedModel, bundle_hashes, load_bundle
from taskclf_dagster.domain.decision import PromotionDecision, verify_decision
from taskclf_dagster.domain.files import (
    append_line,
    bytes_hash_or_none,
    canonical_json,
    move_folder,
    read_json_object,
    write_bytes,
    write_json,
)
from taskclf_dagster.domain.selection import POLICY_VERSION, write_index_cache
from taskclf_dagster.errors import BundleError, DecisionNotVerifiedError, UnreadableFileError
from taskclf_dagster.home import Home

PROMOTION_NOTE = "retrain promotion"
INFERENCE_POLICY_VERSION = "v1"


class ActivePointer(BaseModel):
    """models/active.json. Keys we do not know are kept, because taskclf may write more."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model_dir: str
    selected_at: datetime
    policy_version: Literal[1]
    model_id: str | None = None
    reason: dict[str, object] | None = None


class ActiveHistoryEntry(BaseModel):
    """One line of models/active_history.jsonl: what ran before and what runs since."""

    model_config = ConfigDict(frozen=True, extra="allow")

    at: datetime
    old: ActivePointer | None
    new: ActivePointer


def read_active(home: Home) -> ActivePointer | None:
    """Reads the pointer; None where there is none.

    Raises:
        UnreadableFileError: the file is not a pointer.
    """
    if not home.active_pointer.exists():
        return None
    try:
        return ActivePointer.model_validate(read_json_object(home.active_pointer))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise UnreadableFileError(home.active_pointer, reason, "Promote a model or restore the file") from error


def read_history(home: Home) -> tuple[list[ActiveHistoryEntry], list[str]]:
    """The history's entries, oldest first, and a warning for each line that is not one."""
    entries, warnings = [], []
    if home.active_history.exists():
        text = home.active_history.read_text(encoding="utf-8", errors="replace").removesuffix("\n")
        for number, line in enumerate(text.split("\n") if text else [], start=1):
            try:
                entries.append(ActiveHistoryEntry.model_validate_json(line))
            except ValidationError:
                warnings.append(f"line {number} of {home.active_history.name} is not a history entry and was passed over")
    return entries, warnings


def resolve_model_dir(home: Home, model_dir: str) -> Path:
    """The folder that a pointer names.

    Raises:
        BundleError: the path is absolute or leaves the home, also through a link.
    """
    try:
        path = (home.root / model_dir).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a loop of links
        raise BundleError(home.root, f"invalid: model_dir {model_dir!r} is not a path: {error}") from error
    if Path(model_dir).is_absolute() or ".." in Path(model_dir).parts or not path.is_relative_to(home.root.resolve()):
        raise BundleError(home.root / model_dir, "invalid: model_dir must stay within the home")
    return path


def write_active_atomic(home: Home, pointer: ActivePointer) -> None:
    """Writes models/active.json atomically."""
    write_json(home.active_pointer, _pointer_json(pointer))


def append_active_history(home: Home, entry: ActiveHistoryEntry) -> None:
    """Appends one line to models/active_history.jsonl."""
    append_line(home.active_history, canonical_json(_history_line(entry)))


def promote(home: Home, decision: PromotionDecision, *, at: datetime) -> tuple[ActivePointer, ActivePointer | None]:
    """Makes the challenger of a decision the active model, after checking everything the decision says again.

    Args:
        home: the taskclf home.
        decision: a decision whose verdict is PROMOTE.
        at: the time of the change.

    Returns:
        The pointer now, and before (None where there was none that could be read).

    Raises:
        DecisionNotVerifiedError: the decision does not hold, the bundle is not the one that was judged, or the pointer or policy moved
            on since. Nothing is changed then.
    """
    with _write_lock(home):
        model = _verified_challenger(home, decision)
        source, target = model.bundle.path, decision.destination(home)
        if source != target:
            move_folder(source, target)
        try:
            old = read_active(home)
        except UnreadableFileError:
            old = None  # the history tells what ran before
        metrics = model.bundle.metrics
        pointer = ActivePointer(
            model_dir=f"{home.models.name}/{target.name}",
            selected_at=at,
            policy_version=POLICY_VERSION,
            model_id=target.name,
            reason={
                "metric": "macro_f1",
                "macro_f1": None if metrics is None else metrics.macro_f1,
                "weighted_f1": None if metrics is None else metrics.weighted_f1,
                "note": PROMOTION_NOTE,
                "decision_id": decision.decision_id,
            },
        )
        with _undone_on_error(home, source, target):
            append_active_history(home, ActiveHistoryEntry(at=at, old=old, new=pointer))
            write_json(home.inference_policy, _inference_policy(pointer, model, at, decision.code_version))
            write_active_atomic(home, pointer)
        with suppress(OSError):  # informational: the promotion stands without it
            write_index_cache(home, at=at)
        return pointer, old


def put_aside(home: Home, decision: PromotionDecision) -> Path:
    """Moves the challenger of a decision that does not promote to where rejected or waiting bundles lie.

    Returns:
        Where the bundle lies now.

    Raises:
        DecisionNotVerifiedError: the decision does not hold. Nothing is changed then.
    """
    findings = verify_decision(decision)
    if findings:
        raise DecisionNotVerifiedError(decision.decision_id, findings)
    built, target = home.challengers / decision.challenger.model_id, decision.destination(home)
    if built.is_dir():  # else it lies there already, or was promoted since
        move_folder(built, target)
    return find_bundle(home, decision.challenger.model_id) or target


def is_applied(home: Home, decision: PromotionDecision) -> bool:
    """Whether nothing is left to do for a decision: the pointer was written by it, or its challenger was put aside."""
    if not decision.moves_pointer:
        return not (home.challengers / decision.challenger.model_id).is_dir()
    try:
        pointer = read_active(home)
    except UnreadableFileError:
        return False
    return pointer is not None and (pointer.reason or {}).get("decision_id") == decision.decision_id


def find_bundle(home: Home, model_id: str) -> Path | None:
    """The folder of a bundle wherever a retrain may have put it, or None."""
    folders = (home.challengers, home.pending_models, home.rejected_models, home.models)
    return next((folder / model_id for folder in folders if (folder / model_id).is_dir()), None)


def require_bundle(home: Home, model_id: str) -> Path:
    """As `find_bundle`.

    Raises:
        BundleError: there is no such bundle.
    """
    folder = find_bundle(home, model_id)
    if folder is None:
        raise BundleError(home.challengers / model_id, "the folder is gone")
    return folder


def pointer_state(home: Home) -> tuple[str | None, str | None]:
    """SHA-256 of active.json and of inference_policy.json; None where there is no such file."""
    return bytes_hash_or_none(home.active_pointer), bytes_hash_or_none(home.inference_policy)


def _verified_challenger(home: Home, decision: PromotionDecision) -> LoadedModel:
    """Loads the challenger if the decision holds, is still about the present pointer, and the bundle is the one that was judged."""
    findings = verify_decision(decision)
    if not decision.moves_pointer:
        findings.append(f"the verdict is {decision.outcome}, which moves nothing")
    if (decision.pointer_hash, decision.policy_hash) != pointer_state(home):
        findings.append("active.json or inference_policy.json changed since the decision: it was made against another champion")
    source = find_bundle(home, decision.challenger.model_id)
    if source is None:
        raise DecisionNotVerifiedError(decision.decision_id, [*findings, f"bundle {decision.challenger.model_id} is gone"])
    files = bundle_hashes(source)
    changed = sorted(name for name in files | decision.challenger.files if files.get(name) != decision.challenger.files.get(name))
    if changed:
        findings.append(f"bundle {decision.challenger.model_id} is not the one that was judged: {', '.join(changed)} changed")
    if findings:
        raise DecisionNotVerifiedError(decision.decision_id, findings)
    try:
        return load_bundle(source)
    except BundleError as error:
        raise DecisionNotVerifiedError(decision.decision_id, [str(error)]) from error


def _inference_policy(pointer: ActivePointer, model: LoadedModel, at: datetime, code_version: str) -> dict[str, object]:
    """What taskclf's inference reads first: the new model and its threshold; calibrators belong to the old model and are gone."""
    metadata = model.bundle.metadata
    return {
        "policy_version": INFERENCE_POLICY_VERSION,
        "model_dir": pointer.model_dir,
        "model_schema_hash": model.schema.schema_hash,
        "model_label_set": [] if metadata is None else metadata.label_set,
        "calibrator_store_dir": None,
        "calibration_method": None,
        "reject_threshold": model.reject_threshold,
        "per_user_reject_thresholds": None,
        "created_at": at.isoformat(),
        "source": "retrain",
        "git_commit": code_version,
    }


def _history_line(entry: ActiveHistoryEntry) -> dict[str, object]:
    old = None if entry.old is None else _pointer_json(entry.old)
    return {"at": entry.at.isoformat(), "old": old, "new": _pointer_json(entry.new)}


def _pointer_json(pointer: ActivePointer) -> dict[str, object]:
    """The pointer as taskclf writes it: times with a numeric offset, absent keys left out."""
    return {**pointer.model_dump(mode="json", exclude_none=True), "selected_at": pointer.selected_at.isoformat()}


@contextmanager
def _undone_on_error(home: Home, source: Path, target: Path) -> Iterator[None]:
    """Puts history, policy and bundle back as they were if a write fails, so that a promotion happens whole or not at all."""
    history, policy = (path.read_bytes() if path.exists() else None for path in (home.active_history, home.inference_policy))
    try:
        yield
    except OSError:
        for path, content in ((home.inference_policy, policy), (home.active_history, history)):
            if content is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != content:
                write_bytes(path, content)
        if source != target:
            move_folder(target, source)
        raise


@contextmanager
def _write_lock(home: Home) -> Iterator[None]:
    home.models.mkdir(parents=True, exist_ok=True)
    with FileLock(home.models / ".lock"):
        yield
