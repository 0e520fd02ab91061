"""The report on a replay of policies: the layout of a decision's report, without a verdict."""

from pathlib import Path

from taskclf_dagster.domain.backtest.replay_record import PolicyFigures, Replay
from taskclf_dagster.domain.reporting.replay_pictures import draw_policy
from taskclf_dagster.domain.reporting.replay_words import ASSUMED, COLUMNS, list_cells, say_difference, say_range, say_result
from taskclf_dagster.domain.reporting.report_document import (
    Bullets,
    Cell,
    Paragraph,
    Part,
    Report,
    Section,
    Table,
    render_report,
    text_cell,
    text_cells,
)
from taskclf_dagster.domain.storage.files import write_text
from taskclf_dagster.home import Home

REPORT = "report.html"


def replay_report_path(home: Home) -> Path:
    """Returns the file of the report on the last replay of a home."""
    return home.backtest / REPORT


def write_replay_report(path: Path, replay: Replay) -> None:
    """Writes the report on a replay.

    Raises:
        OSError: it cannot be written.
    """
    write_text(path, render_report(describe_replay(replay)))


def describe_replay(replay: Replay) -> Report:
    """Returns the report on a replay: equal replays give equal reports."""
    return Report(
        title="Replay of policies",
        headline=say_result(replay),
        badge=None,
        facts=[
            ("Home", replay.home),
            ("Replayed", f"{replay.first:%Y-%m-%d} to {replay.last:%Y-%m-%d} (UTC)"),
            ("Compared with", replay.reference),
        ],
        sections=[
            Section("policies", "Policies", [Paragraph(say_range(replay)), _list_policies(replay), _list_changes(replay)]),
            Section("days", "Day by day", _draw_policies(replay)),
            Section("promotions", "Promotions", [_list_promotions(replay, each) for each in replay.policies if each.promotions]),
            Section("decisions", "Decisions", [_list_decisions(each) for each in replay.policies if each.decisions]),
            Section("assumed", "Assumptions", [Bullets(ASSUMED)]),
        ],
        closing=["Nothing is decided by this file; only a retrain promotes a model.", "taskclf-dagster backtest makes it again."],
    )


def _list_policies(replay: Replay) -> Table:
    rows = [[Cell(cell, "number" if number else "") for number, cell in enumerate(list_cells(each))] for each in replay.policies]
    bad = f"A promotion is bad if the new model is worse by more than {replay.bad_difference:g} in the next seven days"
    stale = f"a model is stale {replay.stale_after} days after its training"
    return Table(f"{bad}; {stale}", [name.capitalize() for name in COLUMNS], rows)


def _list_changes(replay: Replay) -> Table:
    rows = [
        [
            text_cell(each.name),
            text_cell(each.rule),
            Cell("; ".join(f"{key}: {value}" for key, value in each.changes.items()) or "-", "prose"),
        ]
        for each in replay.policies
    ]
    return Table("The policies, and the settings in which they differ from the present ones", ["Policy", "Rule", "Settings"], rows)


def _draw_policies(replay: Replay) -> list[Part]:
    reference = replay.policies[0]
    drawn = [draw_policy(each, reference, name=f"days{number}") for number, each in enumerate(replay.policies)]
    return [picture for picture in drawn if picture is not None]


def _list_promotions(replay: Replay, policy: PolicyFigures) -> Table:
    rows = []
    for each in policy.promotions:
        tone = Cell("not judged", "unsure") if each.bad is None else Cell("bad", "bad") if each.bad else Cell("", "")
        cells = text_cells(f"{each.at:%Y-%m-%d %H:%M}", Cell(each.model_id, "code"), each.windows)
        rows.append([*cells, Cell(say_difference(each.difference, each.interval), "number"), tone])
    caption = f"{policy.name}: each new model beside the one before, in the next seven days; bad below -{replay.bad_difference:g}"
    return Table(caption, ["When", "Model", "Windows", "Difference", ""], rows)


def _list_decisions(policy: PolicyFigures) -> Table:
    rows = [
        [*text_cells(f"{each.at:%Y-%m-%d %H:%M}", each.cause.replace("_", " "), each.outcome), Cell(", ".join(each.failed) or "-", "prose")]
        for each in policy.decisions
    ]
    return Table(f"{policy.name}: every retrain", ["When", "Cause", "Verdict", "Not passed"], rows)
