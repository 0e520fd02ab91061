"""Commands on models and receipts: `list`, `verify`, `reproduce` and `compare`."""

import json
from pathlib import Path

import click

from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config
from taskclf_dagster.cli.home_keys import open_home_keys
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.cli.progress_bar import quiet_option, show_work
from taskclf_dagster.domain.decision.decision_store import verify_stored
from taskclf_dagster.domain.execution.engine_choice import open_engine
from taskclf_dagster.domain.models.bundle_paths import require_named_bundle
from taskclf_dagster.domain.models.reproducibility import reproduce
from taskclf_dagster.domain.registry.active_model import WarningKind, find_active_model
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.index_cache import summarize
from taskclf_dagster.domain.registry.ranking import SelectionPolicy, find_best_model, should_switch_active
from taskclf_dagster.domain.registry.signed_state import find_distrust
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.model_comparison import ModelComparison, compare_models
from taskclf_dagster.domain.retraining.recomputation import recompute_stored
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.provenance import cores
from taskclf_dagster.shown_text import counted

BETTER = {"higher": "higher is better", "lower": "lower is better", "neither": ""}
"""The direction in which a metric is better."""


SHOWN_WARNINGS: tuple[WarningKind, ...] = (
    "policy_problem",
    "pointer_problem",
    "policy_names_another_model",
    "fallback",
    "threshold_differs",
    "repair_restores",
)
"""Warnings about the active model that `list` prints."""


@click.command("list")
@home_option
@config_option
@json_option
def list_command(home: Path | None, config: Path | None, as_json: bool) -> None:
    """List the bundles in models/, ranked by stored validation metrics, and the reason why others are excluded.

    The ranking is for information: the active model is the one that taskclf runs, wherever it is named.
    """
    taskclf_home = existing_home(home)
    settings = load_config(taskclf_home, config)
    report = find_best_model(taskclf_home.models, SelectionPolicy(min_improvement=settings.comparison.min_improvement))
    found = find_active_model(read_registry_state(taskclf_home))
    active = found.model_id
    for detail in found.details(*SHOWN_WARNINGS):
        say(f"warning: {detail}", err=True)
    if as_json:
        ranked = [{**summarize(bundle).model_dump(mode="json"), "active": bundle.model_id == active} for bundle in report.ranked]
        say_block(json.dumps({"active": active, "ranked": ranked, "excluded": [r.model_dump() for r in report.excluded]}, indent=2))
        return
    say(f"{taskclf_home.display_name}: active model {found.summary}")
    rows = [
        ["*" if bundle.model_id == active else "", line.model_id, line.macro_f1, line.weighted_f1, f"{line.created_at:%Y-%m-%d %H:%M}"]
        for bundle, line in ((bundle, summarize(bundle)) for bundle in report.ranked)
    ]
    say_block(make_table(rows, headers=["", "model", "macro-F1 (validation)", "weighted-F1", "created"]) if rows else "no eligible bundles")
    for record in report.excluded:
        say(f"left out: {record.model_id}: {record.reason}")
    for model_id in read_history(taskclf_home).blocked:
        say(f"blocked:  {model_id}: a rollback left it; `taskclf-dagster unblock {model_id}` allows it again")
    running = next((bundle for bundle in report.ranked if bundle.model_id == active), None)
    best = report.best
    if running and best and running.metrics and best.metrics and best is not running:
        better = should_switch_active(running.metrics, best.metrics, min_improvement=settings.comparison.min_improvement)
        if better:
            say(f"{best.model_id} has a higher stored score than the active model, but on other data: only a retrain can compare them.")


@click.command("verify")
@click.argument("decision_id")
@home_option
@config_option
@click.option("--deep", is_flag=True, help="Also predict the test windows again, from the stored snapshot and bundles.")
def verify_command(decision_id: str, home: Path | None, config: Path | None, deep: bool) -> None:
    """Recompute the verdict of a stored receipt, offline: from its counts by block, its metrics and its policy.

    With --deep the counts, metrics and gates as well, from the snapshot and the bundles; with signing.public_key the signature is checked.
    Exits with 1 if the receipt does not hold.
    """
    taskclf_home = existing_home(home)
    keys = open_home_keys(taskclf_home, config, signs=False)
    decision, findings = verify_stored(taskclf_home, decision_id)
    distrust = find_distrust(taskclf_home, decision, keys)
    findings += [] if distrust is None else [distrust]
    if deep and not findings:
        findings = recompute_stored(read_registry_state(taskclf_home), decision, cores=cores())
    for finding in findings:
        say(f"does not hold: {finding}")
    if findings:
        raise SystemExit(1)
    say(f"{decision.outcome}: {decision.reason}")
    comparison = "" if decision.comparison is None else f", the comparison from {counted(len(decision.comparison.sums.blocks), 'block')}"
    if deep:
        say("computed again from the snapshot and the bundles: the counts, the metrics and the gates are the same")
    say(f"verified: {counted(len(decision.gates), 'gate')} and the verdict follow{comparison}; sha256 {decision.decision_hash}")


@click.command("reproduce")
@click.argument("model_id")
@home_option
@config_option
@json_option
@quiet_option
def reproduce_command(model_id: str, home: Path | None, config: Path | None, as_json: bool, quiet: bool) -> None:
    """Train a model again from its stored snapshot, and compare trees and predictions.

    A model that a cluster has trained is trained again by the cluster of the settings. Exits with 1 if they differ, or if the model cannot
    be trained in the same way.
    """
    taskclf_home = existing_home(home)
    folder = require_named_bundle(taskclf_home, model_id)
    execution = load_config(taskclf_home, config).execution
    with open_engine(execution, taskclf_home) as engine, show_work(f"training {model_id} again", quiet=quiet) as report:
        result = reproduce(taskclf_home, folder, on_progress=report, engine=engine)
    say_block(json.dumps(result.model_dump(mode="json"), indent=2) if as_json else f"{model_id}: {result.summary}")
    if not as_json and result.obstacle is None:
        say(f"trees        {result.tree_hash}")
        say(f"trained now  {result.reproduced_tree_hash}")
    if not result.same:
        raise SystemExit(1)


@click.command("compare")
@click.argument("model_a")
@click.argument("model_b")
@home_option
@config_option
@json_option
def compare_command(model_a: str, model_b: str, home: Path | None, config: Path | None, as_json: bool) -> None:
    """Compare MODEL_A with MODEL_B on the current snapshot's test windows, without those that either was trained on."""
    taskclf_home = existing_home(home)
    result = compare_models(taskclf_home, model_a, model_b, config=load_config(taskclf_home, config), num_threads=cores())
    if as_json:
        say_block(canonical_json(result.model_dump(mode="json")))
        return
    _print_comparison(result)


def _print_comparison(result: ModelComparison) -> None:
    say(f"A {result.first}: {result.settings[0]}")
    say(f"B {result.second}: {result.settings[1]}")
    say(f"on {counted(result.windows, 'window')} of snapshot {result.dataset_hash}")
    say(result.comparison.exclusion.summary)
    rows = [
        [pair.name, _show(pair.first), _show(pair.second), _show(pair.absolute, sign=True), _percent(pair.relative), BETTER[pair.better]]
        for pair in result.figures
    ]
    say()
    say_block(make_table(rows, headers=["figure", "A", "B", "A - B", "relative", ""]))
    say()
    factors = [[gate.status, gate.name, gate.detail] for gate in result.factors]
    say_block(make_table(factors, headers=["verdict", "if A were to replace B", "detail"], wraps=[2]))
    say()
    say(f"{result.verdict.replace('FIRST', 'A').replace('SECOND', 'B')}: {result.reason.replace('The challenger', 'A')}", bold=True)
    say(f"A {'could' if result.would_replace else 'could not'} replace B by these gates.")


def _show(value: float | None, *, sign: bool = False) -> str:
    return "-" if value is None else f"{value:{'+' if sign else ''}.4f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}"
