"""The record of one gate, and how a gate is judged.

Which gates exist is defined in `decision.candidate_gates` and `decision.comparative_gates`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.shown_text import show_relation

Status = Literal["PASS", "FAIL", "INCONCLUSIVE", "ERROR", "NOT_APPLICABLE"]


Kind = Literal["candidate", "comparative"]


Threshold = float | tuple[float, float] | None


ROUNDING_NOISE = 1e-12
"""Metrics are compared unrounded; this only absorbs binary representation, so that 0.72 - 0.70 is not above 0.02."""


class BesideChampion(Record):
    """The metric of a gate by both models on the same windows, which neither was trained on.

    Attributes:
        windows: number of these windows.
    """

    windows: int
    challenger: float
    champion: float


class RegressionGate(Record):
    """The verdict of one gate.

    Attributes:
        observed: the metric judged; None if there is none.
        threshold: the bound, or the lower and the upper bound.
        unit: what observed and threshold are measured in, and which direction is better.
        detail: the reason in one sentence.
        overridden: the gate could not be judged, and does not apply because a person gave `bootstrap`.
        beside: of a floor that the challenger misses, both models' metric by which it was judged again (`decision.floors`); else None.
    """

    name: str
    kind: Kind
    status: Status
    observed: float | None
    threshold: float | tuple[float, float] | None
    unit: str
    detail: str
    overridden: bool = False
    beside: BesideChampion | None = None

    @property
    def passed(self) -> bool:
        """True if the gate was judged and passed; one that does not apply did not pass, and prevents nothing (`RegressionResult`)."""
        return self.status == "PASS"

    @property
    def numbers(self) -> tuple[object, ...]:
        """Status, observed value, threshold, override and the champion's metric: all that is not a sentence."""
        return self.status, self.observed, self.threshold, self.overridden, self.beside


class RegressionResult(Record):
    """Gates of one kind, in a fixed order."""

    gates: list[RegressionGate]

    @property
    def all_passed(self) -> bool:
        """True if at least one gate passed and every other passed or does not apply; never true for no gates."""
        statuses = [gate.status for gate in self.gates]
        return "PASS" in statuses and all(status in ("PASS", "NOT_APPLICABLE") for status in statuses)


class NoVerdictError(TaskclfDagsterError):
    """Raised inside a gate that has nothing to judge: carries the status, the reason, and whether a person overrode the gate."""

    def __init__(self, status: Status, reason: str, *, overridden: bool = False) -> None:
        self.status: Status = status
        self.overridden = overridden
        super().__init__(reason)


class Judged(NamedTuple):
    """The metric that a gate judged, whether it passes, the reason, and both models' metric if the champion's was looked at."""

    observed: float
    passed: bool
    detail: str
    beside: BesideChampion | None = None


@dataclass(frozen=True)
class GateRule:
    """The rule by which one gate is judged.

    Attributes:
        unit: of metric and threshold.
        threshold: the bound, or a function that finds it.
        judge: raises NoVerdictError if there is nothing to judge.
    """

    name: str
    unit: str
    threshold: Threshold | Callable[[], Threshold]
    judge: Callable[[], Judged]


def judge_gate(rule: GateRule, kind: Kind) -> RegressionGate:
    """Judges one gate; one that raises, or finds no number, is an ERROR and prevents a promotion."""
    threshold: Threshold = None

    def gate(
        status: Status, observed: float | None, detail: str, *, overridden: bool = False, beside: BesideChampion | None = None
    ) -> RegressionGate:
        return RegressionGate(
            name=rule.name,
            kind=kind,
            status=status,
            observed=observed,
            threshold=threshold,
            unit=rule.unit,
            detail=detail,
            overridden=overridden,
            beside=beside,
        )

    try:
        threshold = rule.threshold() if callable(rule.threshold) else rule.threshold
        judged = rule.judge()
        if not math.isfinite(judged.observed):
            return gate("ERROR", None, f"the figure is {judged.observed}, which is not a number")
        return gate("PASS" if judged.passed else "FAIL", judged.observed, judged.detail, beside=judged.beside)
    except NoVerdictError as error:
        return gate(error.status, None, str(error), overridden=error.overridden)
    except Exception as error:  # a gate that raises must prevent a promotion, whatever it raised
        return gate("ERROR", None, f"the gate failed with {type(error).__name__}: {error}")


def floor(observed: float | None, threshold: float) -> Judged:
    """Judges a metric that must reach a threshold.

    Raises:
        NoVerdictError: there is no metric.
    """
    if observed is None:
        raise NoVerdictError("INCONCLUSIVE", "no label has enough test windows to be judged")
    passed = observed >= threshold - ROUNDING_NOISE
    return Judged(observed, passed, show_relation(observed, ">=" if passed else "<", threshold))
