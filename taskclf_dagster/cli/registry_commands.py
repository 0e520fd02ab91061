"""Commands on the registry: `rollback`, `approve`, `unblock`, `prune` and `registry`."""

import json
from functools import partial
from pathlib import Path

import click

from taskclf_dagster.cli.common import (
    config_option,
    existing_home,
    home_option,
    json_option,
    load_config,
    now,
    reason_option,
)
from taskclf_dagster.cli.home_keys import open_home_keys
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.domain.decision.decision_store import load_decision
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.fsck import PROMISES, RegistryFinding, check_registry
from taskclf_dagster.domain.registry.fsck_files import find_unchecked
from taskclf_dagster.domain.registry.fsck_findings import summarize_findings
from taskclf_dagster.domain.registry.promotion import approve
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import plan_prune, prune, require_only_awaiting
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.present_policy import require_present_policy
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.storage.files import MEBIBYTE
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import cores


@click.command("rollback")
@home_option
@config_option
@click.option("--to", metavar="MODEL_ID", help="The model to go back to. Default: the last known good one before the present.")
@reason_option
def rollback_command(home: Path | None, config: Path | None, to: str | None, reason: str) -> None:
    """Make an earlier model the active model at once, without training.

    It is loaded first; the history gets one record, and the model that was left is blocked until `unblock`.
    """
    taskclf_home = existing_home(home)
    pointer = rollback(taskclf_home, to=to, reason=reason, at=now(), keys=open_home_keys(taskclf_home, config, signs=True))
    say(f"taskclf now runs {pointer.name} ({pointer.model_dir}), record {pointer.sequence}")


@click.command("approve")
@click.argument("decision_id", required=False)
@home_option
@config_option
@click.option("--as-judged", is_flag=True, help="Approve although today's policy would reject or hold it.")
def approve_command(decision_id: str | None, home: Path | None, config: Path | None, as_judged: bool) -> None:
    """Promote the challenger of a decision that awaits approval; without DECISION_ID, of the one that does.

    Refused if anything the decision judged has changed since, if a decision was made on later labels, or if today's policy is stricter and
    would not promote it.
    """
    taskclf_home = existing_home(home)
    decision_id = require_only_awaiting(taskclf_home) if decision_id is None else decision_id
    if not as_judged:
        require_present_policy(load_decision(taskclf_home, decision_id), load_config(taskclf_home, config), approved=True)
    keys = open_home_keys(taskclf_home, config, signs=True)
    pointer = approve(taskclf_home, decision_id, recompute=partial(recompute_decision, cores=cores()), at=now(), keys=keys)
    say(f"taskclf now runs {pointer.name} ({pointer.model_dir}), record {pointer.sequence}")


@click.command("unblock")
@click.argument("model_id")
@home_option
@config_option
@reason_option
def unblock_command(model_id: str, home: Path | None, config: Path | None, reason: str) -> None:
    """Allow a model that a rollback left to be promoted again."""
    taskclf_home = existing_home(home)
    unblock(taskclf_home, model_id, reason=reason, at=now(), keys=open_home_keys(taskclf_home, config, signs=True))
    say(f"{model_id} may be promoted again")


@click.command("prune")
@home_option
@config_option
@click.option("--dry-run", is_flag=True, help="List what would go, and remove nothing.")
def prune_command(home: Path | None, config: Path | None, dry_run: bool) -> None:
    """Delete bundles beyond the newest keep_versions and keep_rejected, and what only they needed.

    The active model, the last known good one, anchors, what awaits approval, and what their receipts name are always kept.
    """
    taskclf_home = existing_home(home)
    settings = load_config(taskclf_home, config)
    act = plan_prune if dry_run else partial(prune, keys=open_home_keys(taskclf_home, config, signs=True))
    plan = act(taskclf_home, keep_versions=settings.retention.keep_versions, keep_rejected=settings.retention.keep_rejected, at=now())
    rows = [[item.kind, item.path, f"{item.bytes / MEBIBYTE:.1f} MiB", item.reason] for item in plan.remove]
    if rows:
        say_block(make_table(rows, headers=["kind", "path", "size", "why"], wraps=[3]))
    verb = "would go" if dry_run else "removed"
    say(f"{len(rows)} {verb}, {plan.bytes / MEBIBYTE:.1f} MiB")
    for model_id, reason in plan.reachable.items():
        say(f"stays: {model_id} ({reason})")


@click.group("registry")
def registry_group() -> None:
    """Check the promises of the registry, or repair damage."""


@registry_group.command("fsck")
@home_option
@config_option
@json_option
def fsck_command(home: Path | None, config: Path | None, as_json: bool) -> None:
    """Check every promise over a home and list the findings; changes nothing. Exits with 1 on damage.

    Signatures are checked if signing.public_key is set.
    """
    taskclf_home = existing_home(home)
    keys = open_home_keys(taskclf_home, config, signs=False)
    findings = check_registry(taskclf_home, keys)
    damaged = [finding for finding in findings if finding.severity == "damage"]
    if as_json:
        say_block(json.dumps([finding.model_dump() for finding in findings], indent=2))
    else:
        say(f"active model: {find_active_model(read_registry_state(taskclf_home)).summary}")
        _print_findings(taskclf_home, findings)
        unchecked = ", ".join(f"{kind} ({len(paths)})" for kind, paths in find_unchecked(taskclf_home).items())
        say(f"files without a digest: {unchecked or 'none'}; docs/registry.md says why that is harmless")
    if damaged:
        raise SystemExit(1)


@registry_group.command("repair")
@home_option
@config_option
def repair_command(home: Path | None, config: Path | None) -> None:
    """Complete or abort an interrupted change, adopt foreign changes, and restore the last known good model; the history records all.

    If signing.public_key is set, this accepts a pointer and a policy that are not signed, with a signed record.
    """
    taskclf_home = existing_home(home)
    keys = open_home_keys(taskclf_home, config, signs=True)
    done = repair(taskclf_home, at=now(), keys=keys).done
    left = [finding for finding in check_registry(taskclf_home, keys) if finding.severity == "damage"]
    for line in map(str, done) if done else ["nothing could be repaired" if left else "nothing had to be done"]:
        say(line)
    say(f"active model: {find_active_model(read_registry_state(taskclf_home)).summary}")
    for finding in left:
        say(f"still damaged: {finding.detail}. {finding.fix}", err=True)
    if left:
        raise SystemExit(1)


def _print_findings(home: Home, findings: list[RegistryFinding]) -> None:
    say(home.display_name)
    rows = [[finding.severity, finding.promise, finding.detail, finding.fix] for finding in findings]
    if rows:
        say_block(make_table(rows, headers=["severity", "promise", "found", "what to do"], wraps=[2, 3]))
    for name in sorted({finding.promise for finding in findings if finding.severity == "damage"}):
        say(f"{name} does not hold: {PROMISES[name]}")
    say(summarize_findings(findings))
