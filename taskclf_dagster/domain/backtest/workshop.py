"""All that the policies of a replay share: the label history of the home, datasets, and fits."""

from dataclasses import dataclass
from typing import Self

from taskclf_dagster.domain.backtest.content_store import ContentStore
from taskclf_dagster.domain.backtest.known_labels import KnownLabels
from taskclf_dagster.domain.backtest.replayed_home import RecordedDays
from taskclf_dagster.domain.backtest.replayed_retrain import Retrainer
from taskclf_dagster.domain.backtest.shared_datasets import SharedDatasets
from taskclf_dagster.domain.backtest.shared_fits import SharedFits, Trainer
from taskclf_dagster.home import Home


@dataclass(frozen=True)
class Workshop:
    """The shared parts of a replay.

    Attributes:
        home: the real home.
        labels: its labels, with the times from which they are known.
        retrainer: makes datasets and challengers, or finds those that were made before.
    """

    home: Home
    labels: KnownLabels
    retrainer: Retrainer

    @classmethod
    def open(cls, home: Home, trainer: Trainer) -> Self:
        """Opens the shared parts for a home.

        Raises:
            LabelColumnsError: the label store has no usable column end_ts.
            UnreadableFileError: a file cannot be read.
        """
        datasets = SharedDatasets(ContentStore(home.backtest / "datasets"), RecordedDays(home), trainer.cpu_clock)
        fits = SharedFits(ContentStore(home.backtest / "fits"), trainer)
        return cls(home, KnownLabels(home), Retrainer(datasets, fits, trainer))
