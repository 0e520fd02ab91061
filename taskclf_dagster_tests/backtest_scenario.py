"""Inputs of a replay in a test: the labels of a home, and what makes datasets and challengers."""

import time

from taskclf_dagster.domain.backtest.shared_fits import Trainer
from taskclf_dagster.domain.backtest.workshop import Workshop
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import library_versions

CODE_VERSION = "tested"


def trainer() -> Trainer:
    """This process as a trainer with one thread."""
    return Trainer(1, CODE_VERSION, library_versions(), time.perf_counter, time.process_time)


def open_workshop(home: Home) -> Workshop:
    """Datasets and fits that policies share in a replay of a home."""
    return Workshop.open(home, trainer())
