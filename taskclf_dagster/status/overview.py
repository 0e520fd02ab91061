"""Reads the overview of a home: what runs, what was decided, what is due, what is broken, and what can be done now.

Models are described in `model_views`, decisions in `decision_views`, problems in `problems`, actions in `actions`. Nothing here raises for
what is in a home: what cannot be read is a problem with its fix. Reads only.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.retrain_runs import FINISHED, RetrainRun, find_unfinished_retrain, iterate_retrains
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import ReceiptCache, list_decisions
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.monitoring.live_performance import LivePerformance, measure_live_performance
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.triggers import TriggerAssessment, assess_trigger
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import HomeNotFoundError, TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.status.actions import Circumstances, Waiting, find_actions, find_waiting
from taskclf_dagster.status.decision_views import describe_job, find_trend, summarize_decision
from taskclf_dagster.status.model_views import describe_active_model, describe_live, find_rollback_targets
from taskclf_dagster.status.overview_records import (
    ActiveModelView,
    DaemonView,
    DueView,
    LabelsView,
    Overview,
    Problem,
    RollbackTarget,
)
from taskclf_dagster.status.problems import (
    describe_error,
    find_data_problems,
    find_folder_problems,
    find_registry_problems,
    has_windows,
)
