"""The promotion decision: one record that says what follows from the gates, and names by hash everything it judged.

It moves nothing. Whoever moves the pointer calls `verify_decision` first and compares the hashes with what lies on disk.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from taskclf_dagster.domain.comparison import Comparison
from taskclf_dagster.domain.feasibility import Feasibility
from taskclf_dagster.domain.files import Record, json_hash, read_json_object, write_json
from taskclf_dagster.domain.gates import CANDIDATE_GATES, COMPARATIVE_GATES, MAY_NOT_APPLY, RegressionGate, find_contradictions
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.settings import RetrainConfig

Verdict = Literal["PROMOTE", "AWAITING_APPROVAL", "REJECT", "HOLD"]
REQUIRED_GATES = (*CANDIDATE_GATES, *COMPARATIVE_GATES)


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


class PromotionDecision(Record):
    """One decision. `decision_hash` covers every field but the id, which is made of it.

    Attributes:
        verdict: PROMOTE, AWAITING_APPROVAL, REJECT or HOLD.
        reason: why, in one or two sentences.
        bootstrap: whether a champion that cannot be read was overridden by hand.
        champion_source: how the champion was found; none where there is none.
        pointer_hash: SHA-256 of active.json when the decision was made; None where there was no pointer.
        policy_hash: the same of inference_policy.json.
        previous_policy: the inference policy before; its calibrators and per-user thresholds belong to the old model.
    """

    decision_id: str
    decision_hash: str
    verdict: Verdict
    reason: str
    as_of: datetime
    home: str
    demo: bool
    dry_run: bool
    forced: bool
    bootstrap: bool
    dataset_hash: str
    dataset_digest: str
    snapshot_path: str
    label_watermark: str
    feasibility: Feasibility
    challenger: JudgedModel
    champion: JudgedModel | None
    champion_source: str
    champion_state: str
    champion_warnings: list[str]
    comparison: Comparison | None
    gates: list[RegressionGate]
    pointer_hash: str | None
    policy_hash: str | None
    previous_policy: dict[str, object] | None
    config: RetrainConfig
    code_version: str

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


def decide(gates: Sequence[RegressionGate], feasibility: Feasibility, *, auto_promote: bool) -> tuple[Verdict, str]:
    """What follows from the gates.

    HOLD if no model could be promoted on this data; REJECT if a gate fails; HOLD if a required gate is missing, cannot say, or does not
    apply though it always must; else PROMOTE, or AWAITING_APPROVAL without `auto_promote`.

    Returns:
        The verdict and the reason for it.
    """
    if not feasibility.promotable:
        return "HOLD", feasibility.words
    failed = [gate for gate in gates if gate.status == "FAIL"]
    if failed:
        return "REJECT", "Failed: " + "; ".join(f"{gate.name} ({gate.detail})" for gate in failed) + "."
    found = {gate.name: gate for gate in gates}
    open_questions = [f"{name} was not judged" for name in REQUIRED_GATES if name not in found]
    for gate in gates:
        excused = gate.status == "NOT_APPLICABLE" and gate.name in MAY_NOT_APPLY
        if gate.status != "PASS" and not excused:
            open_questions.append(f"{gate.name} is {gate.status} ({gate.detail})")
    if open_questions:
        return "HOLD", "Not decided: " + "; ".join(open_questions) + "."
    passed = sum(gate.status == "PASS" for gate in gates)
    if auto_promote:
        return "PROMOTE", f"All {passed} gates that apply passed."
    return "AWAITING_APPROVAL", f"All {passed} gates that apply passed; auto_promote is off, so a person has to approve."


def seal(fields: dict[str, object]) -> PromotionDecision:
    """Completes a decision with its hash and an id made of the as-of time and that hash."""
    draft = PromotionDecision.model_validate({**fields, "decision_id": "", "decision_hash": ""})
    digest = _content_hash(draft)
    return draft.model_copy(update={"decision_hash": digest, "decision_id": _decision_id(draft.as_of, digest)})


def verify_decision(decision: PromotionDecision) -> list[str]:
    """Checks a decision against itself: its hash, its verdict from its gates, each gate from its numbers and the settings.

    Returns:
        What does not hold, one sentence each.
    """
    findings = []
    if _content_hash(decision) != decision.decision_hash:
        findings.append("decision_hash does not match the contents: the record was changed after it was made")
    if decision.decision_id != _decision_id(decision.as_of, decision.decision_hash):
        findings.append("decision_id is not the one made of as_of and decision_hash: the record was changed after it was made")
    verdict, reason = decide(decision.gates, decision.feasibility, auto_promote=decision.config.auto_promote)
    if (verdict, reason) != (decision.verdict, decision.reason):
        findings.append(f"the verdict is {decision.verdict}, but {verdict} follows from the gates: {reason}")
    findings.extend(find_contradictions(decision.gates, decision.config))
    names = [gate.name for gate in decision.gates]
    findings.extend(f"gate {name} appears {names.count(name)} times" for name in sorted(set(names)) if names.count(name) > 1)
    return findings


def save_decision(home: Home, decision: PromotionDecision) -> Path:
    """Writes `artifacts/decisions/<decision_id>.json`."""
    path = home.decisions / f"{decision.decision_id}.json"
    write_json(path, decision.model_dump(mode="json"))
    return path


def read_decision(home: Home, decision_id: str) -> PromotionDecision | None:
    """The stored record of a decision; None where it is missing or damaged."""
    try:
        return PromotionDecision.model_validate(read_json_object(home.decisions / f"{decision_id}.json"))
    except (UnreadableFileError, ValidationError):
        return None


def list_decisions(home: Home) -> tuple[list[PromotionDecision], list[Path]]:
    """Every decision of a home, the newest as-of time first, and the files that are none."""
    decisions: list[PromotionDecision] = []
    damaged: list[Path] = []
    for path in home.decisions.glob("*_*_*.json"):
        decision = read_decision(home, path.stem)
        if decision is None:
            damaged.append(path)
        else:
            decisions.append(decision)
    return sorted(decisions, key=lambda decision: (decision.as_of, decision.decision_id), reverse=True), damaged


def _decision_id(as_of: datetime, digest: str) -> str:
    return f"{as_of.astimezone(UTC):%Y-%m-%d_%H%M%S}_{digest[:8]}"


def _content_hash(decision: PromotionDecision) -> str:
    content = decision.model_dump(mode="json", exclude={"decision_id", "decision_hash"})
    return json_hash(content)
