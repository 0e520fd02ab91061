"""The registry at one moment: pointer, policy and history, each read once, and bundles, each read at most once.

A state never changes; a second read, just before a commit or after a recovery, gives another one. `health` finds its problems.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

from taskclf_dagster.domain.decision.decision_store import ReceiptCache
from taskclf_dagster.domain.decision.references import RegistryRef
from taskclf_dagster.domain.models.bundle import LoadedModel, find_bundle_problem, load_bundle
from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.models.bundle_problem import BundleProblem, problem_of
from taskclf_dagster.domain.registry.bundle_cache import BundleCache
from taskclf_dagster.domain.registry.history import MAX_LOST_SEQUENCE, History, read_history
from taskclf_dagster.domain.registry.history_events import Cursor, read_cursor
from taskclf_dagster.domain.registry.history_record import Action, ActiveHistoryEntry
from taskclf_dagster.domain.registry.inference_policy import PolicyFile, read_policy_file
from taskclf_dagster.domain.registry.pointer import ActivePointer, PointerFile, read_pointer_file
from taskclf_dagster.domain.registry.policy_check import PolicyCheck, PolicyChecker
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import BundleError
from taskclf_dagster.home import Home

_FINISHED_LATER: frozenset[Action] = frozenset({"promote", "rollback", "repair", "calibrate"})
"""Changes that recovery finishes if they were interrupted."""


@dataclass(frozen=True)
class Digests:
    """SHA-256 of active.json and of inference_policy.json in hex; None for a file that does not exist."""

    pointer: str | None
    policy: str | None


@dataclass(frozen=True)
class RegistryState:
    """The registry of a home at one moment.

    Attributes:
        home: the taskclf home.
        pointer_file: models/active.json.
        policy_file: models/inference_policy.json.
        history: models/active_history.jsonl.
        keys: sign what is written, and check what was read.
        bundles: the bundles that were read so far.
        receipts: the receipts that were read so far.
    """

    home: Home
    pointer_file: PointerFile
    policy_file: PolicyFile
    history: History
    keys: Keys = NO_KEYS
    bundles: BundleCache = field(default_factory=BundleCache, repr=False, compare=False)
    receipts: ReceiptCache = field(default_factory=ReceiptCache, repr=False, compare=False)

    @property
    def pointer(self) -> ActivePointer | None:
        """The pointer; None if there is none, or none that can be read."""
        return self.pointer_file.pointer

    @property
    def digests(self) -> Digests:
        return Digests(self.pointer_file.digest, self.policy_file.digest)

    @property
    def sequence(self) -> int:
        """Number of the history record that set the pointer; 0 if none of ours did, or the pointer cannot be read."""
        return 0 if self.pointer is None else self.pointer.sequence or 0

    @property
    def is_history_damaged(self) -> bool:
        """True if the history lacks records: it cannot be read, has damage that no record acknowledges, or the pointer is later."""
        if self.history.unreadable is not None:
            return True
        return bool(self.history.open_problems) or self.history.sequence < self.sequence <= MAX_LOST_SEQUENCE

    @property
    def reference(self) -> RegistryRef:
        """The registry as a decision records it."""
        return RegistryRef(
            sequence=self.sequence,
            pointer_hash=self.digests.pointer,
            policy_hash=self.digests.policy,
            previous_policy=self.policy.in_force,
            history_damaged=self.is_history_damaged,
        )

    @property
    def active_model_dir(self) -> str | None:
        """The folder of the active model: that of the policy in force, else that of the pointer; None without either."""
        return self.policy.model_dir or self._pointer_dir

    @property
    def _pointer_dir(self) -> str | None:
        return None if self.pointer is None else self.pointer.model_dir

    @property
    def policy_checker(self) -> PolicyChecker:
        """Checks any policy against this state."""
        return PolicyChecker(self.home, self.history, self.bundles, pointer_dir=self._pointer_dir)

    @cached_property
    def policy(self) -> PolicyCheck:
        """The inference policy, compared with the history."""
        last = self.history.last_move
        return self.policy_checker.check(self.policy_file, is_waiting=lambda: last is not None and self.is_waiting(last))

    def is_waiting(self, entry: ActiveHistoryEntry) -> bool:
        """Returns True if the change of a record was not made: pointer or policy is still the one before, and its event was not written.

        The entry is the last change of the history.
        """
        if entry.foreign or entry.action not in _FINISHED_LATER or self.written_through >= (entry.sequence or 0):
            return False
        if entry.action == "repair":
            return self.pointer_file.digest == (entry.subject[0] if entry.subject else None)
        is_unmoved = (None if self.pointer is None else self.pointer.document) == (None if entry.old is None else entry.old.document)
        if entry.action == "calibrate":
            before = next(iter(self.history.policy_states[1:]), None)
            return is_unmoved and self.policy_file.is_readable and self.policy_file.document == before
        return is_unmoved

    @cached_property
    def cursor(self) -> Cursor:
        """The progress of writing the events of the history."""
        return read_cursor(self.home, self.history)

    @property
    def written_through(self) -> int:
        """Number of the last history record whose event was written."""
        return self.cursor.written_through

    def model_problem(self, model_dir: str) -> BundleProblem | None:
        """Returns why taskclf cannot run a model, or None; each bundle is verified once."""
        try:
            return self.bundles.problem(resolve_model_dir(self.home, model_dir))
        except BundleError as error:
            return problem_of(error)

    def content_problem(self, model_dir: str) -> BundleProblem | None:
        """Returns why a bundle is invalid or incompatible by its content, whatever its manifest says; None if it is neither."""
        try:
            return find_bundle_problem(self.bundles.parsed(resolve_model_dir(self.home, model_dir)))
        except BundleError as error:
            return problem_of(error)

    def note_problem(self, model_dir: str, problem: BundleProblem) -> None:
        """Keeps a problem that only loading a bundle showed, so that `model_problem` returns it."""
        self.bundles.note_problem(resolve_model_dir(self.home, model_dir), problem)

    def reject_threshold_of(self, model_dir: str) -> float:
        """Returns the reject threshold that a bundle states [0 to 1].

        Raises:
            BundleError: the bundle is invalid.
        """
        return self.bundles.parsed(resolve_model_dir(self.home, model_dir)).require().reject_threshold

    def load(self, model_dir: str) -> LoadedModel:
        """Loads a model.

        Raises:
            BundleError: it cannot be loaded.
        """
        return load_bundle(self.bundles.files(resolve_model_dir(self.home, model_dir)))

    def is_same_as(self, other: "RegistryState") -> bool:
        """Returns True if pointer, policy and history are byte for byte those of another state."""
        ours, theirs = self.history, other.history
        return (self.digests, ours.digest, ours.torn, ours.unreadable) == (other.digests, theirs.digest, theirs.torn, theirs.unreadable)

    def with_files_of(self, other: "RegistryState") -> "RegistryState":
        """Returns the state with the bundles and receipts that were read for another one."""
        return replace(self, bundles=other.bundles, receipts=other.receipts)


def read_registry_state(home: Home, keys: Keys = NO_KEYS) -> RegistryState:
    """Reads the registry of a home: three files, each opened once. Never raises for their content."""
    return RegistryState(home, read_pointer_file(home), read_policy_file(home), read_history(home, keys), keys)


def read_digests(home: Home) -> Digests:
    """Returns the present hashes of pointer and policy, for the last check before a change."""
    return Digests(read_pointer_file(home).digest, read_policy_file(home).digest)
