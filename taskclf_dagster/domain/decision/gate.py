"""The record of one gate, and how a gate is judged.

Which gates exist is defined in `decision.candidate_gates` and `decision.comparative_gates`.
"""

import math
from collections.abc import Callable
from typing import Literal

from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import TaskclfDagsterError

Status = Literal["PASS", "FAIL", "INCONCLUSIVE", "ERROR", "NOT_APPLICABLE"]


Kind = Literal["candidate", "comparative"]


Threshold = float | tuple[float, float] | None


ROUNDING_NOISE = 1e-12
"""Figures are compared unrounded; this only absorbs binary representation, so that 0.72 - 0.70 is not above 0.02."""


class RegressionGate(Record):
    """The verdict of one gate.

    Attributes:
        observed: the figure judged; None where there is none.
        threshold: the bound, or the lower and upper bound.
        unit: what observed and threshold are measured in, and which direction is better.
        detail: one sentence for a person.
    """

    name: str
    kind: Kind
    status: Status
    observed: float | None
    threshold: float | tuple[float, float] | None
    unit: str
    detail: str


class RegressionResult(Record):
    """Gates of one kind, in a fixed order."""

    gates: list[RegressionGate]

    @property
    def all_passed(self) -> bool:
        """Whether at least one gate passed and every other passed or does not apply; never true for no gates."""
        statuses = [gate.status for gate in self.gates]
        return "PASS" in statuses and all(status in ("PASS", "NOT_APPLICABLE") for status in statuses)


class NoVerdictError(TaskclfDagsterError):
    """Raised inside a gate that has nothing to judge: carries the status and the reason."""

    def __init__(self, status: Status, reason: str) -> None:
        self.status: Status = status
        super().__init__(reason)


def judge_gate(
    name: str, kind: Kind, unit: str, bound: Threshold | Callable[[], Threshold], judge: Callable[[], tuple[float, bool, str]]
) -> RegressionGate:
    """Judges one gate; one that raises, or finds no number, is an ERROR and holds the model back.

    Args:
        name: of the gate.
        kind: candidate or comparative.
        unit: of figure and threshold.
        bound: the threshold, or what finds it.
        judge: gives the figure, whether it passes, and the words; raises NoVerdictError where there is nothing to judge.
    """
    threshold: Threshold = None
    try:
        threshold = bound() if callable(bound) else bound
        observed, passed, detail = judge()
        if not math.isfinite(observed):
            return _gate(name, kind, "ERROR", None, threshold, unit, f"the figure is {observed}, which is not a number")
        return _gate(name, kind, "PASS" if passed else "FAIL", observed, threshold, unit, detail)
    except NoVerdictError as error:
        return _gate(name, kind, error.status, None, threshold, unit, str(error))
    except Exception as error:  # a gate that raises must hold the model back, whatever it raised
        return _gate(name, kind, "ERROR", None, threshold, unit, f"the gate failed with {type(error).__name__}: {error}")


def _gate(name: str, kind: Kind, status: Status, observed: float | None, threshold: Threshold, unit: str, detail: str) -> RegressionGate:
    return RegressionGate(name=name, kind=kind, status=status, observed=observed, threshold=threshold, unit=unit, detail=detail)


def floor(observed: float | None, threshold: float) -> tuple[float, bool, str]:
    """A figure that must reach a threshold: the figure, whether it does, and the words."""
    if observed is None:
        raise NoVerdictError("INCONCLUSIVE", "no label has enough test windows to be judged")
    passed = observed >= threshold - ROUNDING_NOISE
    return observed, passed, f"{observed:.4f} {'>=' if passed else '<'} {threshold:g}"
