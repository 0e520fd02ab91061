"""One record of the history: what ran before, what runs since, and why. The file of records is in `history`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.storage.signatures import Signature

Action = Literal["promote", "rollback", "repair", "adopt", "calibrate", "abort", "acknowledge", "unblock", "prune"]


MOVES = frozenset({"promote", "rollback", "repair", "adopt", "calibrate"})
"""Actions after which `new` is what the pointer says, and `policy` what taskclf follows; the others leave both as they are."""


class BlockedModel(BaseModel):
    """A model that a rollback left: neither it nor the same trees under another id may be promoted until it is unblocked."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model_id: str
    tree_hash: str | None = None


class ActiveHistoryEntry(BaseModel):
    """One line of models/active_history.jsonl: what ran before and what runs since. Lines of other programs have the first three keys.

    Attributes:
        sequence: 1 for our first record, then one more each time.
        action: promote, rollback, repair, adopt (another program changed pointer or policy), calibrate (the policy alone: calibrators and
            threshold of the model that runs); the others change neither.
        reason: reason of the change.
        policy: the inference policy since then, so that an interrupted change can be finished exactly, and a damaged policy restored;
            None if it stayed as it was.
        policy_removed: True if another program removed the inference policy, so that there has been none since then.
        blocks: the model that a rollback left.
        run_id: the Dagster run that asked for it.
        cause: what a rollback follows from if no person asked for it: the finding of a probation.
        subject: what an abort, unblock or prune is about: a sequence number, a model id, model ids.
        acknowledges: numbers of damaged lines that a person or a repair has taken note of.
        home_id: the id of the home; None if it had none yet.
        previous_hash: SHA-256 of every byte before this line.
        signature: over SHA-256 of this line's canonical JSON without signature and checksum; None if promotions are not signed.
        checksum: SHA-256 of this line's canonical JSON without it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    at: datetime
    old: ActivePointer | None
    new: ActivePointer | None
    sequence: int | None = None
    action: Action | None = None
    decision_id: str | None = None
    run_id: str | None = None
    reason: str | None = None
    cause: str | None = None
    policy: dict[str, object] | None = None
    policy_removed: Literal[True] | None = None
    blocks: BlockedModel | None = None
    subject: list[str] = Field(default_factory=list)
    acknowledges: list[int] = Field(default_factory=list)
    home_id: str | None = None
    previous_hash: str | None = None
    signature: Signature | None = None
    checksum: str | None = None

    @property
    def foreign(self) -> bool:
        """True if another program wrote the line."""
        return self.sequence is None

    @property
    def document(self) -> dict[str, object]:
        """The line as JSON; keys that say nothing are left out."""
        extra = self.model_dump(mode="json", exclude={"at", "old", "new"}, exclude_none=True)
        return {
            "at": self.at.isoformat(),
            "old": None if self.old is None else self.old.document,
            "new": None if self.new is None else self.new.document,
            **{key: value for key, value in extra.items() if value != []},
        }
