"""The promotion decision, a receipt: what follows from the gates, with every number it followed from and the hash of all it judged.

It moves nothing. Whoever moves the pointer calls `verify_decision` first and compares the hashes with what lies on disk.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator

from taskclf_dagster.config.recorded import complete_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feasibility import Feasibility
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES, OVERRIDDEN
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.evaluation.comparison import AnchorComparison, Comparison
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.home import Home

Verdict = Literal["PROMOTE", "AWAITING_APPROVAL", "REJECT", "HOLD"]


REQUIRED_GATES = (*CANDIDATE_GATES, *COMPARATIVE_GATES)


MAY_NOT_APPLY = frozenset(
    {
        *("seen_user_f1", "unseen_user_f1", "beats_rule_baseline", "beats_lookup_baseline", "reproducible"),
        *("macro_f1_no_regression", "min_improvement", "not_worse_than_anchor"),
        *("no_user_clearly_worse", "no_class_clearly_worse", "negative_flips"),
    }
)
"""Gates that have nothing to judge in some situations; every other one must pass."""


class JudgedModel(Record):
    """A model as it was judged.

    Attributes:
        files: SHA-256 of every file of the bundle.
        report_hash: hash of its report record.
    """

    model_id: str
    files: dict[str, str]
    report_hash: str
    macro_f1: float | None
    weighted_f1: float | None


def _as_document(config: object) -> object:
    return config.policy if isinstance(config, RetrainConfig) else config


class PromotionDecision(Record):
    """One decision. `decision_hash` covers every field but the id, which is made of it.

    Receipts outlive versions of this code: a field added later needs a default, and what a receipt does not have stays out of its hash.

    Attributes:
        verdict: PROMOTE, AWAITING_APPROVAL, REJECT or HOLD.
        reason: why, in one or two sentences.
        bootstrap: whether a champion that cannot be read was overridden by hand.
        split: windows by split.
        labels_until: start of the newest labelled window.
        champion_source: how the champion was found; none where there is none.
        champion_state: ok, none, unreadable or incompatible, with champion_reason.
        comparison: both models on the windows that neither learned from, with the counts that everything in it follows from.
        anchors: the challenger beside models that ran lately.
        rolled_back_as: the model with the same trees that a rollback left, or None.
        required_gates: the gates that had to be judged, as the code knew them then.
        config: the whole policy as it was then.
        changes: what the challenger would say differently about the last days; nothing follows from it.
        protections: what guarded this decision, in words.
        registry_sequence: number of the history record that had set the pointer; 0 where none of ours had.
        pointer_hash: SHA-256 of active.json when the decision was made; None where there was no pointer.
        policy_hash: the same of inference_policy.json.
        previous_policy: the inference policy before; its calibrators and per-user thresholds belong to the old model.
    """

    decision_id: str
    decision_hash: str
    verdict: Verdict
    reason: str
    as_of: AwareDatetime
    home: str
    demo: bool
    dry_run: bool
    forced: bool
    bootstrap: bool
    dataset_hash: str
    dataset_digest: str
    snapshot_path: str
    split: dict[str, int]
    label_watermark: str
    labels_until: AwareDatetime | None = None
    feasibility: Feasibility
    challenger: JudgedModel
    champion: JudgedModel | None
    champion_source: str
    champion_state: str
    champion_reason: str
    champion_dir: str | None
    champion_warnings: list[str]
    comparison: Comparison | None
    anchors: list[AnchorComparison]
    rolled_back_as: str | None
    changes: PredictionDiff | None
    protections: list[str]
    gates: list[RegressionGate]
    registry_sequence: int
    pointer_hash: str | None
    policy_hash: str | None
    previous_policy: dict[str, object] | None
    required_gates: list[str]
    config: Annotated[dict[str, object], BeforeValidator(_as_document)]
    code_version: str

    @property
    def settings(self) -> RetrainConfig:
        """The policy; keys that did not exist yet have the present defaults."""
        return complete_config(self.config)

    @property
    def outcome(self) -> str:
        """The verdict, marked if nothing follows from it because the run was dry."""
        return f"{self.verdict} (dry run)" if self.dry_run else self.verdict

    @property
    def moves_pointer(self) -> bool:
        return self.verdict == "PROMOTE" and not self.dry_run

    def destination(self, home: Home) -> Path:
        """Where the challenger's bundle belongs after this decision."""
        if self.moves_pointer:
            return home.models / self.challenger.model_id
        waits = self.verdict in ("AWAITING_APPROVAL", "HOLD") and not self.dry_run
        return (home.pending_models if waits else home.rejected_models) / self.challenger.model_id


def decide(
    gates: Sequence[RegressionGate], feasibility: Feasibility, *, auto_promote: bool, required: Sequence[str] = REQUIRED_GATES
) -> tuple[Verdict, str]:
    """What follows from the gates.

    HOLD if no model could be promoted on this data; REJECT if a gate fails; HOLD if a required gate is missing, cannot say, or does not
    apply though it always must; else PROMOTE, or AWAITING_APPROVAL without `auto_promote`.

    Returns:
        The verdict and the reason for it.
    """
    if not feasibility.promotable:
        return "HOLD", feasibility.summary
    failed = [gate for gate in gates if gate.status == "FAIL"]
    if failed:
        return "REJECT", "Failed: " + "; ".join(f"{gate.name} ({gate.detail})" for gate in failed) + "."
    found = {gate.name: gate for gate in gates}
    missing = [f"{name} was not judged" for name in required if name not in found]
    reasons: dict[tuple[str, str], list[str]] = {}  # several gates may lack the same thing
    for gate in gates:
        excused = gate.status == "NOT_APPLICABLE" and gate.name in MAY_NOT_APPLY
        if gate.status != "PASS" and not excused:
            reasons.setdefault((gate.status, gate.detail), []).append(gate.name)
    held = [f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {status} ({detail})" for (status, detail), names in reasons.items()]
    if missing or held:
        return "HOLD", "Not decided: " + "; ".join([*missing, *held]) + "."
    passed = f"All {sum(gate.status == 'PASS' for gate in gates)} gates that apply passed"
    if any(gate.detail.startswith(OVERRIDDEN) for gate in gates):
        passed += ", the champion was not compared with because bootstrap was given"
    if auto_promote:
        return "PROMOTE", f"{passed}."
    return "AWAITING_APPROVAL", f"{passed}; auto_promote is off, so a person has to approve."


def seal(fields: dict[str, object]) -> PromotionDecision:
    """Completes a decision with its hash and an id made of the as-of time and that hash."""
    draft = PromotionDecision.model_validate({**fields, "decision_id": "", "decision_hash": ""})
    digest = content_hash(draft)
    return draft.model_copy(update={"decision_hash": digest, "decision_id": make_decision_id(draft.as_of, digest)})


def make_decision_id(as_of: datetime, digest: str) -> str:
    """The id of a decision: its as-of time (UTC) and the first 8 hex digits of its hash."""
    return f"{as_of.astimezone(UTC):%Y-%m-%d_%H%M%S}_{digest[:8]}"


def content_hash(decision: PromotionDecision) -> str:
    """SHA-256 over the canonical JSON of everything but id and hash."""
    return json_hash(decision.model_dump(mode="json", exclude={"decision_id", "decision_hash"}, exclude_defaults=True))
