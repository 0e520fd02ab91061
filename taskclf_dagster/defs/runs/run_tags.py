"""The tags that runs carry, and the fixed values of some: home, cause, outcome, trigger, retry, worker process.

Add a tag here before a run gets it. Dagster's pages and GraphQL hide tags that begin with `.dagster/`; runs can be selected by them all the
same. The few others say what a person wants to know. `status.graphql_client` repeats the names as text, because it imports nothing of this
package but errors.
"""

from typing import Literal

from taskclf_dagster.domain.scheduling.triggers import Cause
from taskclf_dagster.home import Home

HOME_TAG = ".dagster/taskclf_home"


PARTITION_TAG = "dagster/partition"
"""The partition that a run is of: where one deployment serves many homes, the name of its home."""


CAUSE_TAG = "taskclf/cause"


REASON_TAG = "taskclf/reason"
"""The reason of the launch, for people."""


USER_TAG = "taskclf/user"
"""The signed-in person who launched a run over page or API."""


EXCLUSIVE_TAG = ".dagster/taskclf_exclusive"
"""The run queue admits one run with this tag at a time (dagster.yaml)."""


PLACE_TAG = ".dagster/taskclf_place"
"""The name of the home of a run that computes, where an instance serves many: one of each home at a time, and a number of them in all."""


REGISTRY_PLACE_TAG = ".dagster/taskclf_registry_place"
"""As PLACE_TAG, for a run of the registry's jobs, such as a rollback."""


TURN_TAG = "dagster/priority"
"""Dagster's own: the queue admits the highest first. Where an instance serves many homes, it is the turn of the run, less than zero."""


OUTCOME_TAG = "taskclf/outcome"


OUTCOME_REASON_TAG = "taskclf/outcome_reason"


MODEL_TAG = ".dagster/taskclf_model"


DECISION_TAG = "taskclf/decision"


REPORT_TAG = "taskclf/report"
"""The report of the decision: its page, or its file."""


TRIGGER_TAG = ".dagster/taskclf_demand"
"""The trigger that a run was launched for: the content of a label store, a drift report, or the daily schedule."""


ATTEMPT_TAG = ".dagster/taskclf_attempt"


RETRY_OF_TAG = ".dagster/taskclf_retry_of"


RETRY_TAG = ".dagster/taskclf_retry"


JUDGED_RUN_TAG = ".dagster/taskclf_judged_run"
"""The run whose challenger is judged again, with its dataset."""


FAILURE_TAG = "taskclf/failure"
"""The reason for which a run was ended from outside."""


WORKER_TAG = ".dagster/taskclf_worker"
"""PID namespace, number and start of the worker process, which distinguish a slow run from a dead one."""


MAX_RUNTIME_TAG = "dagster/max_runtime"


RunCause = Literal[Cause, "by hand", "command line", "api", "page"]


BY_HAND: RunCause = "by hand"
"""The cause of a run without CAUSE_TAG."""


COMMAND_LINE: RunCause = "command line"


API: RunCause = "api"


PAGE: RunCause = "page"


RunState = Literal["queued", "running", "completed", "skipped", "failed"]
"""The state of a retrain: a canceled run has failed, a run that found no new labels was skipped."""


SKIPPED, FAILED = "SKIP", "FAILED"
"""Values of OUTCOME_TAG besides the verdicts."""


def home_tag(home: Home) -> str:
    """Returns the value of HOME_TAG: the absolute path of the home without symbolic links."""
    return str(home.root.resolve())
