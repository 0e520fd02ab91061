"""Errors of the cluster on which parts of a dataset are computed and models are trained."""

from typing import Literal

from taskclf_dagster.errors.base import TaskclfDagsterError

ClusterProblem = Literal["not_installed", "settings", "versions", "code", "home"]
"""The reason why a cluster cannot be used: no dask here; its settings; other versions or other code on a worker; the home of a worker."""


class ClusterNotUsableError(TaskclfDagsterError):
    """The cluster must be changed before it can be used; trying again does not help.

    Attributes:
        kind: the reason.
    """

    def __init__(self, address: str, kind: ClusterProblem, reason: str, fix: str) -> None:
        self.kind: ClusterProblem = kind
        super().__init__(f"The cluster of scheduler {address} cannot be used: {reason}. {fix}.")


ClusterLoss = Literal["scheduler", "workers", "killed", "training"]
"""The part that was lost: the scheduler; workers; every worker that tried one and the same piece of work; or a process that trained."""


class ClusterLostError(TaskclfDagsterError):
    """The scheduler or workers could not be reached, or went away in the middle of the work, which may succeed another time.

    Attributes:
        kind: what was lost.
    """

    def __init__(self, address: str, kind: ClusterLoss, reason: str) -> None:
        self.kind: ClusterLoss = kind
        super().__init__(
            f"The cluster of scheduler {address} was lost: {reason}. The models of the home are as they were; a retrain is launched again "
            "by itself. See the logs of scheduler and workers."
        )


class TrainingProcessError(TaskclfDagsterError):
    """A process that trains ended before it had a model, which may succeed another time."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"A training process ended before it had a model: {reason}.")
        self.reason = reason
