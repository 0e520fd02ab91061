"""The command `suggest`."""

import json
from pathlib import Path

import click

from taskclf_dagster.cli.common import existing_home, home_option, json_option, now, shorten
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.domain.data.label_queue import LabelRequest, add_to_label_queue
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.suggestion_store import LabelSuggestions, load_suggestions
from taskclf_dagster.domain.evaluation.label_suggestions import Suggestion
from taskclf_dagster.domain.retraining.suggestion_step import OpenSuggestions, leave_out_labeled
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted


@click.command("suggest")
@home_option
@json_option
@click.option("--queue", is_flag=True, help="Also add them to taskclf's labelling queue, unless it has an entry about the same time.")
def suggest_command(home: Path | None, as_json: bool, queue: bool) -> None:
    """List up to 20 stretches of time worth labelling, as found with the last decision; times are UTC.

    Those that look like a label with too few test windows, those that the models are unsure of or disagree about, and days without any
    label. Those that were labeled since are left out. After a rejection for a regression, also days whose labels made the difference.
    """
    taskclf_home = existing_home(home)
    decision = next(iter(list_decisions(taskclf_home)[0]), None)
    found = None if decision is None else load_suggestions(taskclf_home, decision.decision_id)
    left = OpenSuggestions([], 0) if found is None else leave_out_labeled(taskclf_home, found)
    added = _add_to_queue(taskclf_home, left.open) if queue else None
    if as_json:
        say_block(json.dumps(_document(decision, found, left, added), indent=2))
        return
    say(_describe(taskclf_home, decision, found, left))
    if left.open:
        headers = ["user", "day", "from - to", "guess", "why"]
        say_block(make_table(map(_row, left.open), headers=headers, wraps=[4]))
    if found is not None and found.day_effects is not None:
        say(f"Why it was rejected: {found.day_effects.describe()}")
    if added is not None:
        there = len(left.open) - added
        has = f"; it has an entry about the time of {there}" if there else ""
        say(f"{added} added to {shorten(taskclf_home.label_queue)}{has}")


def _add_to_queue(home: Home, suggestions: list[Suggestion]) -> int:
    created = now()
    requests = [
        LabelRequest(
            user_id=each.user_id,
            bucket_start_ts=each.start,
            bucket_end_ts=each.end,
            confidence=each.confidence,
            predicted_label=each.label,
            created_at=created,
        )
        for each in suggestions
    ]
    return len(add_to_label_queue(home, requests))


def _document(
    decision: PromotionDecision | None, found: LabelSuggestions | None, left: OpenSuggestions, added: int | None
) -> dict[str, object]:
    return {
        "decision_id": None if decision is None else decision.decision_id,
        "as_of": None if decision is None else decision.as_of.isoformat(),
        "problem": None if found is None else found.problem,
        "labeled_since": left.labeled,
        "added_to_queue": added,
        "day_effects": None if found is None or found.day_effects is None else found.day_effects.model_dump(mode="json"),
        "suggestions": [{**each.model_dump(mode="json"), "minutes": each.minutes} for each in left.open],
    }


def _describe(home: Home, decision: PromotionDecision | None, found: LabelSuggestions | None, left: OpenSuggestions) -> str:
    """Returns the decision that the suggestions are from, and how many they are, or why there are none."""
    if decision is None:
        return f"{home.display_name}: there is no decision yet. `taskclf-dagster retrain` makes one, and finds what to label next."
    about = f"decision {decision.decision_id} ({decision.outcome}, {decision.as_of:%Y-%m-%d %H:%M %Z})"
    if found is None:
        return f"{about} came without suggestions; the next retrain finds some"
    if not found.suggestions:
        return f"{about}: {found.why_none}"
    since = f"; {left.labeled} {'was' if left.labeled == 1 else 'were'} labeled since" if left.labeled else ""
    if not left.open:
        return f"{about}: nothing is left{since}"
    minutes = counted(sum(each.minutes for each in left.open), "minute")
    return f"{about}: {minutes} worth labelling, in {counted(len(left.open), 'part')}{since}"


def _row(each: Suggestion) -> list[object]:
    return [each.user_id, f"{each.start:%Y-%m-%d}", f"{each.start:%H:%M} - {each.end:%H:%M}", each.label, each.reason]
