"""Answers of the API in every state of a home, for the tests of the page; `test_page_examples` holds them to the records of the API."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

Answer = dict[str, Any]

RUN = "5f0c3a1e-7d52-4f0e-9c53-0a7c9d6e1b11"
OLD, RUNNING, NEW = "2026-11-09_060000_run-0412", "2026-11-16_060000_run-1877", "2026-11-23_060000_run-3301"
DECISIONS = [f"2026-11-{day:02}_060000_{number:016x}" for number, day in enumerate(range(3, 28, 3), start=7)]
REPORT = f"/retrain/reports/{DECISIONS[-1]}"


def ago(**parts: float) -> str:
    return (datetime.now(UTC) - timedelta(**parts)).isoformat(timespec="seconds").replace("+00:00", "Z")


def in_(**parts: float) -> str:
    return ago(**{name: -value for name, value in parts.items()})


def gate(name: str, title: str, sentence: str, status: str = "PASS", help_: str | None = None) -> Answer:
    figures = {"observed": 0.61, "threshold": 0.65, "unit": "macro-F1"}
    return {"name": name, "title": title, "status": status, **figures, "sentence": sentence, "help": help_}


PASSED = [
    gate("loads_and_predicts", "The model works", "Its files load, and it gives an answer for every minute of the test."),
    gate("breakidle_precision", "Takes little other work for BreakIdle", "97 % of what it calls BreakIdle is right; 95 % is required."),
    gate(
        "beats_lookup_baseline",
        "Better than a table of apps",
        "It scores 0.61; saying the most common label of the app 0.43.",
    ),
    gate("min_improvement", "Better than the running model", "No improvement is required.", "NOT_APPLICABLE"),
]
FAILED = [
    gate(
        "macro_f1",
        "Good on average over the labels",
        "On average over the labels it scores only 0.61 of 1; 0.65 is required.",
        "FAIL",
        "Label more stretches of the labels that it gets wrong most often, on several days, and correct labels that are wrong.",
    ),
    gate(
        "no_user_clearly_worse",
        "Not clearly worse for anybody",
        "It cannot be said whether it is clearly worse for anybody: nobody has 5 labeled days in the comparison.",
        "INCONCLUSIVE",
        "Label on more days: a person, a label or a kind of use is judged alone only with enough days.",
    ),
]


def job(**changed: Any) -> Answer:
    return {
        "id": RUN,
        "modelId": NEW,
        "previousVersion": RUNNING,
        "newVersion": None,
        "status": "completed",
        "outcome": "REJECT",
        "cause": "cadence",
        "startedAt": ago(days=2, hours=3),
        "completedAt": ago(days=2, hours=2, minutes=59),
        "labelCount": 4182,
        "metricsBefore": {"precision": 0.73, "recall": 0.69, "f1": 0.702, "accuracy": 0.78},
        "metricsAfter": {"precision": 0.66, "recall": 0.6, "f1": 0.613, "accuracy": 0.74},
        "comparedWindows": 1240,
        "errorMessage": None,
        "reason": "macro_f1 is 0.6130, must be at least 0.65",
        "sentence": "The new model is not good enough: it failed 1 check (Good on average over the labels). The running model stays.",
        "decisionId": DECISIONS[-1],
        "runId": RUN,
        "reportUrl": REPORT,
    } | changed


def history() -> list[Answer]:
    """Seven retrains, one of each kind."""
    passed = "The new model passed all 22 checks that apply and became the running model."
    promoted = job(
        id="run-3", outcome="PROMOTE", modelId=RUNNING, previousVersion=OLD, newVersion=RUNNING, startedAt=ago(days=14), cause="new_labels",
        reason="every gate that applies passed", sentence=passed,
        metricsAfter={"precision": 0.74, "recall": 0.72, "f1": 0.731, "accuracy": 0.8},
    )  # fmt: skip
    skipped = job(
        id="run-4", status="skipped", outcome="SKIP", modelId=None, labelCount=4182, metricsBefore=None, metricsAfter=None, decisionId=None,
        reportUrl=None, startedAt=ago(days=5), sentence=None, reason="no label is new since the last decision",
    )  # fmt: skip
    failed = job(
        id="run-5", status="failed", outcome="FAILED", modelId=None, labelCount=None, metricsBefore=None, metricsAfter=None,
        decisionId=None, reportUrl=None, reason=None, sentence=None, startedAt=ago(days=6),
        errorMessage="features_v3/date=2026-11-20/user-1.parquet cannot be read: it ends too early. Let taskclf write it again.",
    )  # fmt: skip
    dry = job(
        id="run-6",
        outcome="PROMOTE (dry run)",
        cause="api",
        startedAt=ago(days=8),
        reason="a dry run promotes nothing",
        sentence="Dry run, nothing was changed: the new model passed all 22 checks that apply and would become the running model.",
    )
    held = job(
        id="run-7",
        outcome="HOLD",
        startedAt=ago(days=11),
        cause="drift",
        reason="12 user-days are needed, there are 4",
        sentence="The new model is kept, but not used: 1 check could not be judged (Few minutes become wrong). The running model stays.",
    )
    first = job(
        id="run-8",
        outcome="PROMOTE",
        modelId=OLD,
        previousVersion=None,
        newVersion=OLD,
        metricsBefore=None,
        startedAt=ago(days=21),
        sentence=passed,
    )
    return [job(), skipped, failed, dry, held, promoted, first]


def comparison() -> Answer:
    return {
        "windows": 1240,
        "userDays": 9,
        "before": 0.702,
        "after": 0.613,
        "difference": -0.089,
        "low": -0.171,
        "high": -0.007,
        "significance": 0.05,
        "pValue": 0.03,
        "sentence": (
            "On 1,240 minutes of 9 days that neither model has learned from, the new model scores 0.61 and the running one 0.70, "
            "0.09 worse (95 % interval -0.17 to -0.01): that is more than chance."
        ),
        "detectable": 0.12,
        "changes": {"becameRight": 41, "becameWrong": 96},
    }


def decision(**changed: Any) -> Answer:
    return {
        "decisionId": DECISIONS[-1],
        "verdict": "REJECT",
        "dryRun": False,
        "sentence": "The new model is not good enough: it failed 1 check (Good on average over the labels). The running model stays.",
        "asOf": ago(days=2, hours=3),
        "modelId": NEW,
        "previousVersion": RUNNING,
        "moved": None,
        "gates": FAILED + PASSED,
        "comparison": comparison(),
        "reportUrl": REPORT,
        "waits": False,
    } | changed


def trend() -> list[Answer]:
    steps = [(None, 0.61, "PROMOTE"), (0.61, 0.58, "REJECT"), (0.62, 0.66, "PROMOTE"), (0.65, 0.66, "HOLD"), (0.66, 0.64, "REJECT")]
    steps += [(0.67, 0.73, "PROMOTE"), (0.72, 0.7, "REJECT"), (0.71, 0.72, "AWAITING_APPROVAL"), (0.702, 0.613, "REJECT")]
    pairs = enumerate(zip(DECISIONS, steps, strict=True))
    return [
        {"at": ago(days=26 - 3 * number), "decisionId": name, "verdict": verdict, "before": before, "after": after}
        for number, (name, (before, after, verdict)) in pairs
    ]


def target(model_id: str, days: int, *, is_default: bool) -> Answer:
    return {
        "modelId": model_id,
        "trainedAt": ago(days=days),
        "activeFrom": ago(days=days),
        "activeUntil": ago(days=days - 7),
        "macroF1": 0.66,
        "isDefault": is_default,
        "effect": (
            f"taskclf runs {model_id}, from the next time that it loads its model. Nothing is trained, no model is deleted. "
            f"{RUNNING} is blocked: it is not promoted again until it is unblocked."
        ),
    }


def rejected() -> Answer:
    """The usual state: a model runs, the last one was rejected, nothing is under way."""
    return {
        "home": "~/taskclf",
        "isDemo": False,
        "state": "completed",
        "reason": decision()["sentence"],
        "readOnly": False,
        "user": None,
        "job": job(),
        "progress": None,
        "activeModel": {
            "modelId": RUNNING,
            "source": "policy",
            "summary": f"{RUNNING} (inference policy), reject threshold 0.48",
            "trainedAt": ago(days=14),
            "activeSince": ago(days=14),
            "wentBackBecause": None,
            "ageDays": 14.0,
            "rejectThreshold": 0.48,
            "decisionId": DECISIONS[5],
            "fair": {
                "macroF1": 0.731,
                "weightedF1": 0.792,
                "accuracy": 0.804,
                "windows": 1108,
                "sentence": "Before its promotion it scored 0.73 (macro-F1) on 1,108 minutes of 8 days that it had not learned from.",
            },
            "probation": None,
            "live": {
                "macroF1": 0.702,
                "accuracy": 0.781,
                "windows": 640,
                "days": 6,
                "asOf": ago(hours=5),
                "sentence": "Of 640 minutes on 6 days that were labeled later, its label was right in 78% (macro-F1 0.70).",
            },
        },
        "lastDecision": decision(),
        "trials": [],
        "trend": trend(),
        "due": {"isDue": False, "reason": "Retrain is not due yet: the last one was 2 days ago, cadence is 7 days.", "at": in_(days=5)},
        "nextTick": in_(hours=14),
        "enabled": True,
        "labels": {"since": 3, "needed": 5, "summary": "218 label spans: 201 with labeled windows, 17 before the look-back."},
        "daemon": {"running": True, "sentence": "Dagster's daemon runs."},
        "warnings": [],
        "problems": [],
        "actions": {
            "trigger": {
                "allowed": True,
                "reason": None,
                "effect": (
                    "Trains a new model on the labels up to now, and tests it beside the running one on minutes that neither has learned "
                    "from. If it passes every check it waits for your approval; until then the running model stays."
                ),
            },
            "approve": {
                "allowed": False, "reason": "No model waits for approval.", "effect": "", "decisionId": None, "modelId": None,
                "asJudged": False,
            },
            "rollback": {
                "allowed": True, "reason": None, "effect": "",
                "targets": [target(OLD, 21, is_default=True), target("2026-11-02_060000_run-2209", 28, is_default=False)],
            },
            "config": {"allowed": True, "reason": None, "effect": "Writes ~/taskclf/taskclf_dagster.yaml."},
        },
    }  # fmt: skip


def first_run() -> Answer:
    """A new home: labels, but no model and no decision."""
    status = rejected() | {"state": "idle", "reason": "no retrain was launched yet", "job": None, "activeModel": None, "lastDecision": None}
    status |= {"trend": [], "due": {"isDue": True, "reason": "there is no last decided run", "at": None}}
    status["labels"] = {"since": 42, "needed": 5, "summary": "42 label spans: all of them label windows"}
    status["actions"]["rollback"] |= {
        "allowed": False,
        "reason": "There is no other model that can run. A retrain makes one.",
        "targets": [],
    }
    return status


def empty() -> Answer:
    """A home without windows and labels."""
    status = first_run()
    status["labels"] = {"since": 0, "needed": 5, "summary": "no label spans yet"}
    status["due"] = {"isDue": False, "reason": "there are no windows in the look-back yet", "at": None}
    reason = "taskclf has not recorded a day yet: there is nothing to learn from."
    status["actions"]["trigger"] |= {"allowed": False, "reason": reason}
    return status


def running() -> Answer:
    progress = {
        "runId": RUN,
        "since": ago(seconds=21),
        "stepsDone": 7,
        "steps": 19,
        "step": "challenger_model",
        "stepTitle": "Training the new model",
        "message": "round 40 of 100",
        "round": 40,
        "rounds": 100,
        "secondsElapsed": 21.4,
        "secondsLeft": 19.0,
    }
    status = rejected() | {"state": "running", "reason": "launched by the schedule", "progress": progress}
    status["job"] = job(status="running", outcome=None, completedAt=None, reason=None, decisionId=None, reportUrl=None)
    status["actions"]["trigger"] |= {"allowed": False, "reason": "A retrain is under way since 21 seconds."}
    return status


def queued() -> Answer:
    status = running()
    status["state"] = "queued"
    status["progress"] |= {"stepsDone": 0, "step": None, "stepTitle": "Waits in Dagster's queue", "message": None, "round": None}
    status["progress"] |= {"rounds": None, "secondsLeft": None, "secondsElapsed": 2.0, "since": ago(seconds=2)}
    return status


def waiting() -> Answer:
    """A model waits for approval."""
    sentence = "The new model passed all 22 checks that apply and waits for approval."
    better = comparison() | {"after": 0.741, "difference": 0.039, "low": -0.004, "high": 0.082}
    better["sentence"] = (
        "On 1,240 minutes of 9 days that neither model has learned from, the new model scores 0.74 and the running one 0.70, "
        "0.04 better (95 % interval -0.00 to +0.08): that may be chance."
    )
    better["changes"] = {"becameRight": 96, "becameWrong": 41}
    status = rejected()
    status["lastDecision"] = decision(verdict="AWAITING_APPROVAL", sentence=sentence, gates=PASSED, waits=True, comparison=better)
    status["reason"] = sentence
    status["job"] = job(outcome="AWAITING_APPROVAL", reason="every gate that applies passed")
    status["actions"]["approve"] = {
        "allowed": True,
        "reason": None,
        "effect": (
            f"taskclf runs {NEW} in place of {RUNNING}, from the next time that it loads its model. First every figure is computed again "
            "from the stored data, which takes some seconds. Nothing is trained, and a rollback takes it back."
        ),
        "decisionId": DECISIONS[-1],
        "modelId": NEW,
        "asJudged": False,
    }
    return status


def promoted() -> Answer:
    status = waiting()
    status["lastDecision"] |= {"verdict": "PROMOTE", "moved": 7, "waits": False}
    status["lastDecision"]["sentence"] = "The new model passed all 22 checks that apply and became the running model."
    status["activeModel"] |= {"modelId": NEW, "live": None}
    status["actions"]["approve"] = rejected()["actions"]["approve"]
    status["reason"] = status["lastDecision"]["sentence"]
    return status


def failed() -> Answer:
    status = rejected() | {"state": "failed", "isDemo": True}
    status["reason"] = history()[2]["errorMessage"]
    status["job"] = history()[2]
    status["warnings"] = ["2 daily files of features_v3 are passed over, because their names are not those of taskclf"]
    return status


def broken_registry() -> Answer:
    status = rejected() | {"activeModel": None, "lastDecision": None, "trend": []}
    status["problems"] = [
        {
            "kind": "registry",
            "title": "No model can run",
            "detail": "models/active.json is not JSON (line 1), and models/inference_policy.json is missing",
            "fix": "`taskclf-dagster registry repair` restores the last known good model.",
        }
    ]
    reason = "The history of the running model is damaged, so nothing is promoted: repair it first."
    for name in ("trigger", "approve", "rollback"):
        status["actions"][name] |= {"allowed": False, "reason": reason}
    return status


def daemon_down() -> Answer:
    status = rejected()
    sentence = "Dagster's daemon does not run, so no schedule ticks and what is launched here waits: start `taskclf-dagster serve`"
    status["daemon"] = {"running": False, "sentence": sentence}
    return status


def read_only() -> Answer:
    status = waiting() | {"readOnly": True, "user": "ada@example.org"}
    for action in status["actions"].values():
        action |= {"allowed": False, "reason": "This server is read-only: it was started with --read-only."}
    return status


def invalid_configuration() -> Answer:
    status = rejected() | {"nextTick": None}
    status["due"] = {"isDue": False, "reason": "the configuration is not valid", "at": None}
    detail = "~/taskclf/taskclf_dagster.yaml: min_new_labels is 0, must be at least 1"
    status["problems"] = [{"kind": "config", "title": "The settings are not valid", "detail": detail, "fix": "Correct the file."}]
    status["actions"]["trigger"] |= {"allowed": False, "reason": "The settings are not valid; see above."}
    return status


def on_trial() -> Answer:
    """A challenger that was held is tried beside the running model; an earlier one was worse."""
    status = rejected()
    status["lastDecision"] = decision(verdict="HOLD", sentence=history()[4]["sentence"], gates=[FAILED[1], *PASSED])
    status["reason"], status["job"] = status["lastDecision"]["sentence"], job(outcome="HOLD", reason="12 user-days are needed, there are 4")
    status["trials"] = [
        {
            "modelId": NEW,
            "championId": RUNNING,
            "state": "waits",
            "isOpen": True,
            "days": 6,
            "windows": 1840,
            "difference": 0.041,
            "lower": -0.032,
            "upper": 0.118,
            "since": ago(days=7),
            "until": in_(days=7),
            "decisionId": None,
            "sentence": "Neither better nor worse is shown: +0.0410, between -0.0320 and +0.1180 on 6 user-days with 1840 windows.",
            "serving": "Serves 10 % of the user-days in batch scores.",
        },
        {
            "modelId": "2026-11-12_060000_run-2604",
            "championId": RUNNING,
            "state": "worse",
            "isOpen": False,
            "days": 9,
            "windows": 2213,
            "difference": -0.103,
            "lower": -0.181,
            "upper": -0.012,
            "since": ago(days=18),
            "until": ago(days=4),
            "decisionId": None,
            "sentence": ("It is worse than the active model: -0.1030, between -0.1810 and -0.0120 on 9 user-days with 2213 windows."),
            "serving": None,
        },
    ]
    return status


def on_probation() -> Answer:
    """The running model was promoted lately, and the one before it is compared with it."""
    status = promoted()
    status["activeModel"] |= {"trainedAt": ago(days=2), "activeSince": ago(days=2)}
    status["activeModel"]["probation"] = {
        "modelId": NEW, "previousId": RUNNING, "until": in_(days=5), "harm": False, "days": 1, "windows": 212,
        "difference": 0.029, "lower": -0.113, "upper": 0.171,
        "sentence": f"No harm is shown beside {RUNNING}: +0.0290, between -0.1130 and +0.1710 on 1 user-day with 212 windows.",
    }  # fmt: skip
    return status


STATES: Mapping[str, Callable[[], Answer]] = {
    make.__name__: make
    for make in (
        rejected, first_run, empty, running, queued, waiting, promoted, failed, broken_registry, daemon_down, read_only,
        invalid_configuration, on_trial, on_probation,
    )
}  # fmt: skip


def config(**changed: Any) -> Answer:
    """The answer of GET config, with the keys that matter to the page."""
    shipped: dict[str, Any] = {
        "enabled": True,
        "schedule.cron": "0 6 * * *",
        "schedule.timezone": None,
        "timeout_minutes": 30,
        "min_new_labels": 5,
        "auto_promote": False,
        "gates.min_macro_f1": 0.65,
        "gates.min_breakidle_precision": 0.95,
        "floor_policy": "strict",
        "evidence_policy": "point",
        "anchor_tolerance": None,
    }
    values = {
        key: {
            "value": changed.get(key, value),
            "default": value,
            "overriddenBy": None,
            "locked": None,
            "effect": "from the next run on",
            "source": "taskclf_dagster.yaml" if key in changed else "retrain.yaml",
        }
        for key, value in shipped.items()
    }
    values["timeout_minutes"]["overriddenBy"] = "environment RETRAIN_TIMEOUT_MINUTES"
    change = {"at": ago(days=3), "who": "ada@example.org", "via": "api", "key": "min_new_labels", "before": 10, "after": 5}
    return deepcopy({"values": values, "editable": list(shipped), "file": "~/taskclf/taskclf_dagster.yaml", "changes": [change]})
