"""The command `replay-receipts`."""

import json
from pathlib import Path

import click

from taskclf_dagster.cli.common import GIVEN_PATH, config_option, existing_home, home_option, json_option, load_config
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.config.overlay import read_overlay
from taskclf_dagster.domain.backtest.receipt_replay import ReceiptReplay, replay_receipts
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.shown_text import counted


@click.command("replay-receipts")
@home_option
@config_option
@json_option
@click.option("--policy", "path", type=GIVEN_PATH, required=True, help="A YAML file with the keys that differ from the configuration.")
def replay_receipts_command(home: Path | None, config: Path | None, as_json: bool, path: Path) -> None:
    """Judge the stored receipts again by another policy, from the figures in them; nothing is read but receipts, and nothing is written.

    Each is judged beside the champion that it was really judged beside. Gates that a receipt has no figures for are named. For another
    look-back or other training use `backtest`.
    """
    taskclf_home = existing_home(home)
    present = load_config(taskclf_home, config)
    settings = read_overlay(path, present)
    decisions, unreadable = list_decisions(taskclf_home)
    for receipt in unreadable:
        say(f"left out {receipt.path.name}: {receipt.problem}", err=True)
    found = replay_receipts(decisions, path.stem, settings, present)
    if as_json:
        document = {**found.model_dump(mode="json"), "changed": found.changed, "judged": len(found.receipts)}
        say_block(json.dumps(document, indent=2))
        return
    _print(found)


def _print(found: ReceiptReplay) -> None:
    say(f"{found.policy} would have changed {found.changed} of {counted(len(found.receipts), 'verdict')}.", bold=True)
    rows = [
        [each.decision_id, f"{each.verdict}{' (dry run)' if each.dry_run else ''}", each.again or "unknown", each.reason]
        for each in found.receipts
        if each.changed or each.again is None
    ]
    if rows:
        say_block(make_table(rows, headers=["decision", "verdict", "by the policy", "reason"], wraps=[3]))
    unjudgeable: dict[tuple[str, str], int] = {}
    for each in found.receipts:
        for found_gate in each.unjudgeable.items():
            unjudgeable[found_gate] = unjudgeable.get(found_gate, 0) + 1
    for (gate, reason), number in unjudgeable.items():
        say(f"cannot be judged in {counted(number, 'receipt')}: {gate}: {reason}")
    if found.ignored_keys:
        keys = ", ".join(found.ignored_keys)
        say(f"without effect here: {keys}. They shape datasets and models; `taskclf-dagster backtest` replays them.")
