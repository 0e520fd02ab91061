"""Reads what a glance at one of many homes needs, as cheaply as that goes: no windows, no receipts but one, no bundle but the active one.

It depends on files alone and not on the time, so a reader of many homes reads it again only when a stamp of `stamp_glance` has changed.
Nothing here raises for what is in a home. `OverviewReader` reads everything about one home.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from taskclf_dagster.config.loading import find_config_file, resolve_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans
from taskclf_dagster.domain.data.label_store import find_store, read_fingerprints
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, LastDecided, read_last_decided
from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.registry.active_model import ActiveModel, find_active_model
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.reporting.verdict_words import say_verdict
from taskclf_dagster.domain.storage.files import list_folders
from taskclf_dagster.domain.storage.signatures import NO_KEYS
from taskclf_dagster.errors import BundleError, TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.status.actions import find_waiting
from taskclf_dagster.status.kept_results import take_stamps
from taskclf_dagster.status.overview_records import Problem, ProblemKind
from taskclf_dagster.status.problems import describe_error, find_registry_problems

_Part = TypeVar("_Part")


@dataclass
class HomeGlance:
    """The contents of the files of a home, as far as a glance shows them.

    Attributes:
        config: the present configuration; the shipped one if it is not valid.
        model_id: the active model; None if no model can run.
        trained_at: time of its training; None if its bundle does not say.
        last: the last decided run.
        decision_id: the last decision that is not a dry run.
        sentence: its verdict in plain words; empty without a receipt that can be read.
        moved: True if its model became the active one.
        waiting: id of the decision that waits for approval; None if none or several do.
        waiting_sentence: that it waits, or why it cannot be approved by today's policy; empty if none waits.
        changed_spans: number of label spans that changed since; None if they cannot be read.
        problems: what is broken.
    """

    config: RetrainConfig
    model_id: str | None = None
    trained_at: datetime | None = None
    last: LastDecided | None = None
    decision_id: str | None = None
    sentence: str = ""
    moved: bool = False
    waiting: str | None = None
    waiting_sentence: str = ""
    changed_spans: int | None = None
    problems: list[Problem] = field(default_factory=list)

    def attempt(self, read: Callable[[], _Part], kind: ProblemKind, title: str) -> _Part | None:
        """Returns what a function reads; None if it raises one of our errors, or cannot open a file, which is a problem then."""
        try:
            return read()
        except (TaskclfDagsterError, OSError) as error:
            self.problems.append(describe_error(error, kind, title))
            return None


def read_glance(home: Home, environ: Mapping[str, str]) -> HomeGlance:
    """Reads a home.

    Args:
        home: the taskclf home.
        environ: the environment, with the configuration above that of the home.
    """
    glance = HomeGlance(RetrainConfig.model_validate({}))
    glance.config = glance.attempt(lambda: resolve_config(None, home, environ), "config", "The settings are not valid") or glance.config
    try:
        home.require()
    except (TaskclfDagsterError, OSError) as error:
        glance.problems.append(describe_error(error, "home", "The home cannot be opened"))
        return glance
    signing = glance.config.signing
    keys = glance.attempt(lambda: open_keys(home, signing, signs=False), "config", "Signatures cannot be checked") or NO_KEYS
    state = glance.attempt(lambda: read_registry_state(home, keys), "registry", "Models and history cannot be read")
    glance.last = read_last_decided(home)
    if state is not None:
        glance.attempt(lambda: _add_registry(glance, state), "registry", "Models and history cannot be read")
    watermark = None if glance.last is None else glance.last.label_watermark
    glance.changed_spans = glance.attempt(
        lambda: count_changed_spans(home.decisions, watermark, read_fingerprints(home)), "data", "The labels cannot be read"
    )
    return glance


def stamp_glance(home: Home, environ: Mapping[str, str]) -> tuple[object, ...]:
    """Returns stamps of every file that a glance is made of."""
    config = find_config_file(None, environ)
    names = [home.root, home.processed, home.settings_file, home.home_id_file, find_store(home), *([] if config is None else [config])]
    pointers = [home.active_pointer, home.inference_policy, home.active_history]
    decided = [home.decisions, home.decisions / LAST_DECIDED, home.pending_models, home.challengers]
    return take_stamps([*names, *pointers, *decided]), take_stamps([home.models], depth=2)


def _add_registry(glance: HomeGlance, state: RegistryState) -> None:
    """Adds the active model, the last decision and what waits."""
    active = find_active_model(state)
    glance.problems += find_registry_problems(state, active)
    glance.model_id, glance.trained_at = active.model_id, _find_training(state, active)
    glance.decision_id = None if glance.last is None else glance.last.decision_id
    decision = None if glance.decision_id is None else state.receipts.find(state.home, glance.decision_id)
    moves = {entry.decision_id for entry in state.history.moves}
    glance.moved = glance.decision_id in moves - {None}
    glance.sentence = "" if decision is None else say_verdict(decision, glance.moved)
    # Without a bundle that waits, or one that its run did not put aside, no receipt needs to be read.
    if list_folders(state.home.pending_models) or list_folders(state.home.challengers):
        _add_waiting(glance, state, list_decisions(state.home, state.receipts)[0])


def _add_waiting(glance: HomeGlance, state: RegistryState, decisions: list[PromotionDecision]) -> None:
    waiting = find_waiting(state, decisions, glance.config)
    if waiting.decision is not None:
        glance.waiting = waiting.decision.decision_id
        glance.waiting_sentence = waiting.refusal or say_verdict(waiting.decision, moved=False)


def _find_training(state: RegistryState, active: ActiveModel) -> datetime | None:
    if active.model_dir is None or active.model_id is None:
        return None
    try:
        return state.bundles.parsed(resolve_model_dir(state.home, active.model_dir)).created_at
    except BundleError:
        return None
