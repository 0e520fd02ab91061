"""A small client of the web server's GraphQL API: status, trigger, history, config. For programs that are not this project.

The queries are the files in `graphql/`, for use from any language; docs/api.md explains them. Configuration is a file and cannot be changed
over the API. What the command line says comes from `defs/overview` instead, which reads the home as well.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import requests

from taskclf_dagster.errors import ApiError

LOCATION, REPOSITORY = "taskclf_dagster", "__repository__"
JOB, IMPLICIT_JOB = "retrain", "__ASSET_JOB"
TIMEOUT_SECONDS = 30.0
IN_STATUS = ("run_id", "decision_id", "status", "outcome", "cause", "started", "finished", "error", "reason")
"""Of a run, what the status tells; the history has the rest."""
_WHOLE_GRAPH = {"labeled_windows", "promotion_decision"}
_RUNNING = {"STARTED", "CANCELING"}
_UNFINISHED = {"QUEUED", "NOT_STARTED", "STARTING", *_RUNNING}


class RetrainClient:
    """Talks to a running `dagster dev` or `dagster-webserver`.

    Args:
        url: such as http://127.0.0.1:3000.
        auth: user and password, where a login stands in front.
        location: name of the code location in the workspace.
        home: only runs about this home, where one instance serves several; None is all.

    Every method raises ApiError: the server cannot be reached, refuses, or answers with an error.
    """

    def __init__(self, url: str, *, auth: tuple[str, str] | None = None, location: str = LOCATION, home: str | None = None) -> None:
        self._url = url.rstrip("/") + "/graphql"
        self._session = requests.Session()
        self._session.auth = auth
        self._selector = {"repositoryLocationName": location, "repositoryName": REPOSITORY}
        self._home = home

    def status(self) -> dict[str, Any]:
        """The state of retraining.

        Returns:
            state (idle, queued, running, completed, skipped, failed), reason, run (under way, else the last; None where there is none),
            progress (how many steps of a run under way have ended), active_model and its freshness (HEALTHY, WARNING, DEGRADED, UNKNOWN),
            next_tick of the daily schedule (None when it is off), and what schedule and label sensor said at their last look: due, labels.
        """
        schedule, sensor = {**self._selector, "scheduleName": "daily_retrain"}, {**self._selector, "sensorName": "label_arrival"}
        data = self._ask("status", schedule=schedule, sensor=sensor)
        under_way = [run for run in self._mine(data["underWay"]["results"]) if run["jobName"] in (JOB, IMPLICIT_JOB)]
        ended = [run for run in self._mine([*data["ended"]["results"], *data["endedImplicit"]["results"]]) if _is_whole(run)]
        run = min(under_way, key=_created, default=None) or max(ended, key=_created, default=None)
        shown = None if run is None else _describe(run)
        ticks = data["schedule"].get("futureTicks", {}).get("results", [])
        on = data["schedule"].get("scheduleState", {}).get("status") == "RUNNING"
        model = data["model"][0] if data["model"] else {}
        return {
            "state": "idle" if shown is None else shown["status"],
            "reason": None if shown is None else shown["reason"],
            "run": None if shown is None else {name: shown[name] for name in IN_STATUS},
            "progress": run["stats"]["stepsSucceeded"] if run is not None and under_way else None,
            "active_model": _metadata(model.get("assetMaterializations", [])[:1]).get("model_id"),
            "freshness": (model.get("freshnessStatusInfo") or {}).get("freshnessStatus"),
            "next_tick": _moment(ticks[0]["timestamp"]) if ticks and on else None,
            "due": _last_words(data["schedule"].get("scheduleState")),
            "labels": _last_words(data["labels"].get("sensorState")),
        }

    def trigger(self, **form: object) -> str:
        """Launches a retrain and returns the id of its run.

        Args:
            form: the launch form: force, dry_run, as_of, holdout_user_fraction, config_path, bootstrap.
        """
        params = {
            "selector": {**self._selector, "jobName": JOB},
            "runConfigData": form,
            "executionMetadata": {"tags": [{"key": "taskclf/cause", "value": "api"}]},
        }
        answer = self._ask("trigger", params=params)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            errors = [error["message"] for error in answer.get("errors", [])] or [answer.get("message", answer["__typename"])]
            raise ApiError(self._url, "; ".join(errors).rstrip("."))
        return str(answer["run"]["runId"])

    def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """Every retrain, the newest first.

        Returns:
            For each run_id, decision_id, status, outcome, cause, started, finished, previous_version, new_version, challenger, labels,
            metrics_before, metrics_after, error and reason, as `taskclf-dagster history --json` has them.
        """
        runs: list[dict[str, Any]] = []
        for job in (JOB, IMPLICIT_JOB):
            answer = self._ask("history", job=job, limit=limit)["runsOrError"]
            if "results" not in answer:
                raise ApiError(self._url, answer["message"])
            runs += [run for run in self._mine(answer["results"]) if _is_whole(run)]
        return [_describe(run) for run in sorted(runs, key=_created, reverse=True)[:limit]]

    def config(self) -> dict[str, Any]:
        """The configuration in effect when the code location was loaded; a changed file shows after a reload, runs read it at once."""
        answer = self._ask("config", job={**self._selector, "pipelineName": JOB})["pipelineOrError"]
        entries = {entry["label"]: entry for entry in answer.get("metadataEntries", [])}
        if "configuration" not in entries:
            raise ApiError(self._url, answer.get("message", f"the job {JOB} shows no configuration"))
        return dict(json.loads(entries["configuration"]["jsonString"]))

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        text = (files("taskclf_dagster") / "graphql" / f"{query}.graphql").read_text(encoding="utf-8")
        try:
            answer = self._session.post(self._url, json={"query": text, "variables": variables}, timeout=TIMEOUT_SECONDS)
            content = answer.json() if answer.status_code in (200, 400) else {}
        except (requests.RequestException, ValueError) as error:
            raise ApiError(self._url, str(error)) from error
        if content.get("errors") or not content.get("data"):
            errors = "; ".join(str(error.get("message")) for error in content.get("errors", []))
            raise ApiError(self._url, errors or f"it answered {answer.status_code} {answer.reason}")
        return dict(content["data"])

    def _mine(self, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [run for run in runs if self._home is None or _tags(run).get("taskclf/home", self._home) == self._home]


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
        "cause": tags.get("taskclf/cause", "by hand"),
        "started": _moment(run["startTime"] or run["creationTime"]),
        "finished": _moment(run["endTime"]),
        "previous_version": decision.get("champion_model") if decision.get("champion_model") != "none" else None,
        "new_version": moved,
        "challenger": tags.get("taskclf/model"),
        "labels": dataset.get("dagster/row_count"),
        "metrics_before": _scores(decision, "champion"),
        "metrics_after": _scores(decision, "challenger"),
        "error": tags.get("taskclf/outcome_reason", "see the run's log") if status == "failed" else None,
        "reason": tags.get("taskclf/outcome_reason"),
    }


def _scores(decision: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    figures = {name: decision.get(f"{model}_{name}") for name in ("macro_f1", "weighted_f1")}
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


def _metadata(events: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [entry for event in events for entry in event["metadataEntries"]]
    values = {entry["label"]: [entry.get(kind) for kind in ("text", "floatValue", "intValue")] for entry in entries}
    return {label: next((value for value in found if value is not None), None) for label, found in values.items()}


def _last_words(state: Mapping[str, Any] | None) -> str:
    """What the last tick said: why it skipped, or which runs it launched."""
    tick = next(iter((state or {}).get("ticks", [])), None)
    if tick is None:
        return "it has not looked yet"
    return tick["skipReason"] or f"{tick['status'].lower()}: launched {', '.join(tick['runIds']) or 'nothing'}"


def _tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def _created(run: Mapping[str, Any]) -> float:
    return float(run["creationTime"])


def _moment(timestamp: float | None) -> str | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC).isoformat()
