"""A small client of Dagster's GraphQL: status, trigger, history, config. For servers without our API, such as `dagster dev`.

Where `taskclf-dagster serve` runs, use `client`, which can do more. The queries are the files in `graphql/`, for use from any language;
docs/api.md explains them. Configuration cannot be changed here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import requests

from taskclf_dagster.errors import ApiError

LOCATION, REPOSITORY = "taskclf_dagster", "__repository__"


JOB, IMPLICIT_JOB = "retrain", "__ASSET_JOB"


TIMEOUT_SECONDS = 30.0


IN_STATUS = ("run_id", "decision_id", "status", "outcome", "cause", "started", "finished", "error", "reason")
"""The fields of a run that the status has; the history has the others."""


FORM: dict[str, tuple[type, ...]] = {
    "force": (bool,),
    "dry_run": (bool,),
    "as_of": (str, type(None)),
    "holdout_user_fraction": (float, int),
    "config_path": (str, type(None)),
    "bootstrap": (bool,),
}
"""The launch form of the job: its fields, and what each may be."""


MOVES = 20
"""Number of pointer changes that are searched for the latest one of a home."""


_HOME_TAG, _CAUSE_TAG, _REASON_TAG = ".dagster/taskclf_home", "taskclf/cause", "taskclf/reason"


_WHOLE_GRAPH = {"labeled_windows", "promotion_decision"}


_RUNNING = {"STARTED", "CANCELING"}


_UNFINISHED = {"QUEUED", "NOT_STARTED", "STARTING", *_RUNNING}


class GraphQLClient:
    """A client of a running `dagster dev` or `dagster-webserver`.

    Args:
        url: such as http://127.0.0.1:3000.
        auth: user and password, where a login stands in front.
        location: name of the code location in the workspace.
        home: restricts answers to this home, if an instance serves several; None is all. The absolute path without links, as in the
            runs' tag `.dagster/taskclf_home`. Schedule, sensors and `trigger` set that tag at once, any other run gets it when it starts:
            until then it is found with None only.

    Every method raises ApiError if the server cannot be reached, refuses, or answers with an error.
    """

    def __init__(self, url: str, *, auth: tuple[str, str] | None = None, location: str = LOCATION, home: str | None = None) -> None:
        self._url = url.rstrip("/") + "/graphql"
        self._session = requests.Session()
        self._session.auth = auth
        self._selector = {"repositoryLocationName": location, "repositoryName": REPOSITORY}
        self._home = None if home is None else home.rstrip("/") or home
        self._tags = [] if self._home is None else [{"key": _HOME_TAG, "value": self._home}]

    def status(self) -> dict[str, Any]:
        """Returns the state of retraining.

        Returns:
            state (idle, queued, running, completed, skipped, failed), reason, run (under way, else the last; None where there is none),
            progress (how many steps of a run under way have ended), active_model and its freshness (HEALTHY, WARNING, DEGRADED, UNKNOWN),
            next_tick of the daily schedule (None when it is off), due (if it would launch a retrain now, and why), and labels, the latest
            result of the label sensor. A server that was started with --read-only evaluates no schedule: due is the latest tick's result.
            active_model is of the latest materialization of `active_pointer`, with a home of the latest one of that home among the newest
            20 (else None); a pointer change outside Dagster is shown within half a minute, if the daemon runs. freshness is that of the
            asset, whatever the home; schedule and sensor are those of the code location.
        """
        schedule, sensor = {**self._selector, "scheduleName": "daily_retrain"}, {**self._selector, "sensorName": "label_arrival"}
        data = self._ask("status", schedule=schedule, sensor=sensor, tags=self._tags, moves=1 if self._home is None else MOVES)
        unfinished = [run for run in data["underWay"]["results"] if run["jobName"] in (JOB, IMPLICIT_JOB)]
        ended = [run for run in [*data["ended"]["results"], *data["endedImplicit"]["results"]] if _is_whole(run)]
        run = min(unfinished, key=_created, default=None) or max(ended, key=_created, default=None)
        shown = None if run is None else _describe(run)
        ticks, on = data["schedule"]["futureTicks"]["results"], data["schedule"]["scheduleState"]["status"] == "RUNNING"
        model = data["model"][0] if data["model"] else {}
        return {
            "state": "idle" if shown is None else shown["status"],
            "reason": None if shown is None else shown["reason"],
            "run": None if shown is None else {name: shown[name] for name in IN_STATUS},
            "progress": run["stats"]["stepsSucceeded"] if run is not None and unfinished else None,
            "active_model": self._find_model(model.get("assetMaterializations", [])),
            "freshness": (model.get("freshnessStatusInfo") or {}).get("freshnessStatus"),
            "next_tick": _moment(ticks[0]["timestamp"]) if ticks and on else None,
            "due": self._find_due(schedule) or _last_words(data["schedule"]["scheduleState"]),
            "labels": _last_words(data["labels"]["sensorState"]),
        }

    def trigger(self, **form: object) -> str:
        """Launches a retrain and returns the id of its run.

        Args:
            form: the launch form: force, dry_run, as_of, holdout_user_fraction, config_path, bootstrap. It is checked before it is sent.
        """
        findings = list(_check_form(form))
        if findings:
            raise ApiError(self._url, "; ".join(findings), refused=True)
        params = {
            "selector": {**self._selector, "jobName": JOB},
            "runConfigData": form,
            "executionMetadata": {"tags": [{"key": _CAUSE_TAG, "value": "api"}, *self._tags]},
        }
        answer = self._ask("trigger", params=params)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":  # the two that have no message
            raise ApiError(self._url, answer["__typename"], refused=True)
        return str(answer["run"]["runId"])

    def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """Returns every retrain, the newest first.

        Returns:
            For each run_id, decision_id, status, outcome, cause, started, finished, previous_version, new_version, challenger, labels,
            metrics_before, metrics_after, error and reason, as `taskclf-dagster history --json` has them.
            Runs are the instance's, whatever the code location.
        """
        runs: list[dict[str, Any]] = []
        for job in (JOB, IMPLICIT_JOB):
            answer = self._ask("history", job=job, limit=limit, tags=self._tags)["runsOrError"]
            runs += [run for run in answer["results"] if _is_whole(run)]
        return [_describe(run) for run in sorted(runs, key=_created, reverse=True)[:limit]]

    def config(self) -> dict[str, Any]:
        """Returns the configuration of the last reload of the code location; runs read the file when they start."""
        answer = self._ask("config", job={**self._selector, "pipelineName": JOB})["pipelineOrError"]
        entries = {entry["label"]: entry for entry in answer.get("metadataEntries", [])}
        if "configuration" not in entries:
            raise ApiError(self._url, f"the job {JOB} shows no configuration", refused=True)
        return dict(json.loads(entries["configuration"]["jsonString"]))

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        text = (files("taskclf_dagster.status") / "graphql" / f"{query}.graphql").read_text(encoding="utf-8")
        try:
            answer = self._session.post(self._url, json={"query": text, "variables": variables}, timeout=TIMEOUT_SECONDS)
            content = answer.json() if answer.status_code in (200, 400) else None
        except (requests.RequestException, ValueError) as error:
            raise ApiError(self._url, str(error)) from error
        content = content if isinstance(content, dict) else {}
        messages = list(_messages([content.get("errors"), content.get("data")]))
        if messages:
            message = "; ".join(message.rstrip(".") for message in messages)
            raise ApiError(self._url, f"{message} (code location {self._selector['repositoryLocationName']})", refused=True)
        if not isinstance(content.get("data"), dict):
            raise ApiError(self._url, f"it answered {answer.status_code} {answer.reason}", refused=answer.status_code in (401, 403))
        return dict(content["data"])

    def _find_due(self, schedule: Mapping[str, str]) -> str | None:
        """Returns what the schedule would do now; None if the server refuses to evaluate it."""
        try:
            answer = self._ask("due", schedule=schedule, now=datetime.now(UTC).timestamp())["scheduleDryRun"]["evaluationResult"]
        except ApiError as error:
            if not error.refused:
                raise
            return None
        launched = [_tags(run).get(_REASON_TAG) for run in answer["runRequests"] or []]
        return f"yes: {launched[0]}" if launched else f"no: {answer['skipReason']}"

    def _find_model(self, moves: list[dict[str, Any]]) -> str | None:
        """Returns the model of the latest of these materializations that is of the home."""
        model = next((_metadata([move]).get("model_id") for move in moves if self._home is None or _is_about(move, self._home)), None)
        return None if model is None else str(model)


def _check_form(form: Mapping[str, object]) -> Iterator[str]:
    """Returns the errors of a launch form, one for each field."""
    for name, value in form.items():
        kinds = FORM.get(name)
        if kinds is None:
            yield f"{name} is no field of the launch form, which has {', '.join(FORM)}"
        elif not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            yield f"{name} is {value!r}, but must be of type {wanted}"
        elif isinstance(value, float | int) and not 0 <= value < 1 and name == "holdout_user_fraction":
            yield f"{name} is {value!r}, but must be at least 0 and less than 1"


def _messages(value: object) -> Iterator[str]:
    """Returns every `message` in an answer: the queries select it on errors only."""
    if isinstance(value, list):
        for item in value:
            yield from _messages(item)
    elif isinstance(value, dict):
        if "message" in value:
            yield str(value["message"])
        for item in value.values():
            yield from _messages(item)


def _is_about(move: Mapping[str, Any], home: str) -> bool:
    """Returns True if a pointer change is of a home, by its metadata, in which a demo home has its display name."""
    return _metadata([move]).get("home") in (home, f"DEMO home {home}")


def _describe(run: Mapping[str, Any]) -> dict[str, Any]:
    tags, made = _tags(run), run.get("assetMaterializations", [])
    decision, dataset = _of_asset(made, "promotion_decision"), _of_asset(made, "dataset_snapshot")
    status = _status(run, tags)
    moved = _of_asset(made, "active_pointer").get("model_id")
    return {
        "run_id": run["runId"],
        "decision_id": tags.get("taskclf/decision"),
        "status": status,
        "outcome": "FAILED" if status == "failed" else tags.get("taskclf/outcome"),
        "cause": tags.get(_CAUSE_TAG, "by hand"),
        "started": _moment(run["startTime"] or run["creationTime"]),
        "finished": _moment(run["endTime"]),
        "previous_version": decision.get("champion_model") if decision.get("champion_model") != "none" else None,
        "new_version": moved,
        "challenger": decision.get("challenger_model"),
        "labels": dataset.get("dagster/row_count"),
        "metrics_before": _scores(decision, "champion"),
        "metrics_after": _scores(decision, "challenger"),
        "compared_windows": decision.get("compared_windows"),
        "error": tags.get("taskclf/outcome_reason", "see the run's log") if status == "failed" else None,
        "reason": tags.get("taskclf/outcome_reason"),
    }


def _scores(decision: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    names = {"macro_f1": "macro_f1", "weighted_f1": "weighted", "accuracy": "accuracy"}
    figures = {name: decision.get(f"{shown}_{model}") for name, shown in names.items()}
    return figures if any(value is not None for value in figures.values()) else None


def _status(run: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    if run["status"] in _UNFINISHED:
        return "running" if run["status"] in _RUNNING else "queued"
    if run["status"] != "SUCCESS":
        return "failed"
    return "skipped" if tags.get("taskclf/outcome") == "SKIP" else "completed"


def _is_whole(run: Mapping[str, Any]) -> bool:
    selection = run.get("assetSelection")
    return run["jobName"] == JOB or not selection or {key["path"][-1] for key in selection} >= _WHOLE_GRAPH


def _of_asset(made: list[dict[str, Any]], asset: str) -> dict[str, Any]:
    return _metadata([event for event in made if (event.get("assetKey") or {}).get("path") == [asset]][-1:])


def _metadata(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    entries = [entry for event in events for entry in event["metadataEntries"]]
    values = {entry["label"]: [entry.get(kind) for kind in ("text", "floatValue", "intValue")] for entry in entries}
    return {label: next((value for value in found if value is not None), None) for label, found in values.items()}


def _last_words(state: Mapping[str, Any] | None) -> str:
    """Returns the result of the last tick: the reason why it skipped, or the runs that it launched."""
    tick = next(iter((state or {}).get("ticks", [])), None)
    if tick is None:
        return "it has not looked yet"
    return tick["skipReason"] or f"{tick['status'].lower()}: launched {', '.join(tick['runIds']) or 'nothing'}"


def _tags(run: Mapping[str, Any]) -> dict[str, str]:
    """Returns the tags without empty ones: a re-execution empties those that Dagster copied and that are not about it."""
    return {tag["key"]: tag["value"] for tag in run.get("tags", []) if tag["value"]}


def _created(run: Mapping[str, Any]) -> float:
    return float(run["creationTime"])


def _moment(timestamp: float | None) -> str | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC).isoformat()
