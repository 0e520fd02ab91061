"""The promotion decision, a receipt: what follows from the gates, with every number it followed from and the hash of all it judged.

It moves nothing. Whoever moves the pointer calls `verify_decision` first and compares the hashes with what lies on disk.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, ValidationError

from taskclf_dagster.domain.changes import ChangePreview
from taskclf_dagster.domain.comparative_gates import COMPARATIVE_GATES, OVERRIDDEN, check_regression_gates
from taskclf_dagster.domain.comparison import AnchorComparison, Comparison, complete_comparison, derive_seed, find_inconsistencies
from taskclf_dagster.domain.feasibility import Feasibility
from taskclf_dagster.domain.files import Record, canonical_json, json_hash, read_json_object, write_text
from taskclf_dagster.domain.gates import CANDIDATE_GATES, RegressionGate, find_contradictions
from taskclf_dagster.domain.labels import present_watermark
from taskclf_dagster.domain.reproduction import is_proof_wanted
from taskclf_dagster.errors import DecisionNotFoundError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.settings import RetrainConfig, complete_config

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
    changes: ChangePreview | None
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
        return "HOLD", feasibility.words
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
    digest = _content_hash(draft)
    return draft.model_copy(update={"decision_hash": digest, "decision_id": _decision_id(draft.as_of, digest)})


def verify_decision(decision: PromotionDecision) -> list[str]:
    """Checks a decision against itself, offline: its hash, its verdict from its gates, each gate from its numbers and the settings.

    The comparison, its statistics and the comparative gates are computed again from the counts by block, and must be equal byte for byte.

    Returns:
        What does not hold, one sentence each.
    """
    findings: list[str] = []
    try:
        if _content_hash(decision) != decision.decision_hash:
            findings.append("decision_hash does not match the contents: the record was changed after it was made")
        if decision.decision_id != _decision_id(decision.as_of, decision.decision_hash):
            findings.append("decision_id is not the one made of as_of and decision_hash: the record was changed after it was made")
        findings.extend(_find_contradictions(decision))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # a policy or a count that no run ever had
        findings.append(f"it cannot be computed again: {type(error).__name__}: {str(error).splitlines()[0]}")
    names = [gate.name for gate in decision.gates]
    findings.extend(f"gate {name} appears {names.count(name)} times" for name in sorted(set(names)) if names.count(name) > 1)
    return findings


def _find_contradictions(decision: PromotionDecision) -> list[str]:
    """A verdict that does not follow from the gates, and gates that do not follow from their numbers, the policy or the counts."""
    settings, findings = decision.settings, []
    verdict, reason = decide(decision.gates, decision.feasibility, auto_promote=settings.auto_promote, required=decision.required_gates)
    if verdict != decision.verdict:
        findings.append(f"the verdict is {decision.verdict}, but {verdict} follows from the gates: {reason}")
    findings.extend(find_contradictions([gate for gate in decision.gates if gate.kind == "candidate"], settings))
    excused = {gate.name for gate in decision.gates if gate.status == "NOT_APPLICABLE"}
    promotes = decision.verdict in ("PROMOTE", "AWAITING_APPROVAL")  # else it may just not have been tried
    if promotes and "reproducible" in excused and is_proof_wanted(settings, windows=sum(decision.split.values())):
        findings.append("gate reproducible does not apply, but the policy wants the proof")
    if promotes and "beats_lookup_baseline" in excused and settings.require_baseline_improvement:
        findings.append("gate beats_lookup_baseline does not apply, but the policy wants baselines to be beaten")
    return [*findings, *_find_unfounded(decision, settings)]


def _find_unfounded(decision: PromotionDecision, settings: RetrainConfig) -> list[str]:
    """What does not follow from the counts: the comparison, or a comparative gate; and what contradicts itself."""
    findings = _find_unfounded_comparison(decision, settings) if decision.comparison is not None else []
    expected = {gate.name: _figures(gate) for gate in judge_beside_others(decision, settings)}
    for gate in decision.gates:
        if gate.kind != ("candidate" if gate.name in CANDIDATE_GATES else "comparative"):
            findings.append(f"gate {gate.name} is called {gate.kind}")
        elif gate.kind == "comparative" and expected.get(gate.name) != _figures(gate):
            findings.append(f"gate {gate.name} does not follow from the comparison")
    for anchor in decision.anchors:
        ours, theirs = anchor.challenger_macro_f1, anchor.anchor_macro_f1
        if anchor.difference is not None and (ours is None or theirs is None or anchor.difference != ours - theirs):
            findings.append(f"the difference to anchor {anchor.model_id} is not that of the figures")
    return findings


def _find_unfounded_comparison(decision: PromotionDecision, settings: RetrainConfig) -> list[str]:
    comparison, champion = decision.comparison, decision.champion
    if comparison is None or champion is None or decision.champion_state != "ok":
        return ["there is a comparison without a champion to compare with"]
    findings = find_inconsistencies(comparison)
    again = complete_comparison(
        challenger_id=comparison.challenger_id,
        champion_id=comparison.champion_id,
        left_out=comparison.left_out,
        exclusion=comparison.exclusion,
        sums=comparison.sums,
        flips=comparison.flips,
        seed=derive_seed(decision.dataset_digest, [champion.files, decision.challenger.files], decision.config),
        config=settings,
    )
    if _numbers(again) != _numbers(comparison):
        findings.append("the comparison does not follow from its counts by block")
    if (comparison.challenger_id, comparison.champion_id) != (decision.challenger.model_id, champion.model_id):
        findings.append(f"the comparison is about {comparison.challenger_id} and {comparison.champion_id}")
    return findings


def _numbers(comparison: Comparison) -> str:
    """The comparison without words, which a later version may put differently."""
    return canonical_json(comparison.model_dump(mode="json", exclude={"evidence": {"words"}}))


def _figures(gate: RegressionGate) -> tuple[object, ...]:
    return gate.status, gate.observed, gate.threshold


def judge_beside_others(decision: PromotionDecision, config: RetrainConfig) -> list[RegressionGate]:
    """The comparative gates, from what a decision says about champion, comparison, anchors and rollbacks."""
    return check_regression_gates(
        decision.comparison,
        champion_state=decision.champion_state,
        champion_reason=decision.champion_reason,
        anchors=decision.anchors,
        rolled_back_as=decision.rolled_back_as,
        bootstrap=decision.bootstrap,
        config=config,
    ).gates


def save_decision(home: Home, decision: PromotionDecision) -> Path:
    """Writes `artifacts/decisions/<decision_id>.json` as canonical JSON, so that equal decisions are equal files."""
    path = home.decisions / f"{decision.decision_id}.json"
    write_text(path, _receipt_text(decision))
    return path


def verify_stored(home: Home, decision_id: str) -> tuple[PromotionDecision, list[str]]:
    """Reads a receipt and checks it; its file must be, byte for byte, the one that follows from its contents.

    Raises:
        DecisionNotFoundError: there is none, or it is damaged beyond reading.
    """
    decision = read_decision(home, decision_id)
    if decision is None:
        raise DecisionNotFoundError(decision_id, home.decisions)
    findings = verify_decision(decision)
    path = home.decisions / f"{decision_id}.json"
    if path.read_bytes() != _receipt_text(decision).encode():
        findings.append(f"{path.name} is not the canonical JSON of its contents: the file was written or changed by other hands")
    return decision, findings


def read_decision(home: Home, decision_id: str) -> PromotionDecision | None:
    """The stored record of a decision; None where it is missing or damaged, or the id is not one."""
    if Path(decision_id).name != decision_id:
        return None
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


def find_later_decision(home: Home, decision: PromotionDecision) -> PromotionDecision | None:
    """A decision about later and other labels, dry runs aside, or None.

    The labels of the store as it is now are the latest, even if some were deleted; else the newest label counts, and how many, not as_of.
    """
    others = [other for other in list_decisions(home)[0] if not other.dry_run and other.label_watermark != decision.label_watermark]
    present = present_watermark(home) if others else None
    return next((other for other in others if _labels_seen(other, present) > _labels_seen(decision, present)), None)


def _labels_seen(decision: PromotionDecision, present: str | None) -> tuple[bool, datetime, int]:
    return decision.label_watermark == present, decision.labels_until or decision.as_of, sum(decision.split.values())


def _receipt_text(decision: PromotionDecision) -> str:
    return canonical_json(decision.model_dump(mode="json", exclude_defaults=True)) + "\n"


def _decision_id(as_of: datetime, digest: str) -> str:
    return f"{as_of.astimezone(UTC):%Y-%m-%d_%H%M%S}_{digest[:8]}"


def _content_hash(decision: PromotionDecision) -> str:
    return json_hash(decision.model_dump(mode="json", exclude={"decision_id", "decision_hash"}, exclude_defaults=True))
