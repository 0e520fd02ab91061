"""Judges stored receipts again by another policy, from the figures in them: without windows, labels or models."""

from collections.abc import Sequence

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.domain.backtest.unjudgeable_gates import find_unjudgeable
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.retraining.present_policy import judge_by_present_policy
from taskclf_dagster.domain.storage.records import Record

SHAPES_MODELS = frozenset(
    {
        *("data_lookback_days", "training_lookback_days", "schema_version", "skip_unreadable_days", "weak_labels", "min_labels"),
        *("train_params", "refit", "search", "search_budget", "search_cadence_days", "reject_threshold"),
    }
)
"""Keys that shape dataset and challenger: a receipt cannot say what others would have given."""


class ReceiptAgain(Record):
    """One receipt under another policy.

    Attributes:
        verdict, again: of the receipt, and by the other policy; again is None if that cannot be computed.
        reason: of the verdict by the other policy.
        unjudgeable: the gates that the other policy asks for and that cannot be judged from the receipt, each with the reason.
    """

    decision_id: str
    as_of: str
    dry_run: bool
    verdict: str
    again: str | None
    reason: str
    unjudgeable: dict[str, str]

    @property
    def changed(self) -> bool:
        """True if the verdict would have been another one."""
        return self.again is not None and self.again != self.verdict


class ReceiptReplay(Record):
    """Stored receipts under another policy.

    Attributes:
        receipts: the oldest first.
        ignored_keys: keys that the policy changes and that have no effect here, because they shape dataset or challenger.
    """

    policy: str
    receipts: list[ReceiptAgain]
    ignored_keys: list[str]

    @property
    def changed(self) -> int:
        """Number of receipts with another verdict."""
        return sum(receipt.changed for receipt in self.receipts)


def replay_receipts(decisions: Sequence[PromotionDecision], policy: str, settings: RetrainConfig, present: RetrainConfig) -> ReceiptReplay:
    """Judges receipts by a policy; each against the champion that it was really judged against.

    Args:
        decisions: the receipts, in any order.
        policy: name of the policy.
        settings: its configuration.
        present: the present configuration, over which the policy was written.
    """
    before, now = dict(flatten(present.policy)), dict(flatten(settings.policy))
    ignored = [key for key in now if before.get(key) != now[key] and key.partition(".")[0] in SHAPES_MODELS]
    ordered = sorted(decisions, key=lambda decision: (decision.as_of, decision.decision_id))
    return ReceiptReplay(policy=policy, receipts=[_judge(each, settings) for each in ordered], ignored_keys=ignored)


def _judge(decision: PromotionDecision, settings: RetrainConfig) -> ReceiptAgain:
    again, reason = None, ""
    try:
        again, reason = judge_by_present_policy(decision, settings)
        unjudgeable = find_unjudgeable(decision, settings)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # a policy or a count that no run ever had
        reason, unjudgeable = f"it cannot be computed: {type(error).__name__}: {str(error).splitlines()[0]}", {}
    return ReceiptAgain(
        decision_id=decision.decision_id,
        as_of=decision.as_of.isoformat(),
        dry_run=decision.options.dry_run,
        verdict=decision.verdict,
        again=again,
        reason=reason,
        unjudgeable=unjudgeable,
    )
