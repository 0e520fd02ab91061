"""The command `report`: the report of a decision as an HTML file, or the comparison of two models in the same layout."""

import webbrowser
from pathlib import Path

import click

from taskclf_dagster.cli.common import GIVEN_PATH, config_option, existing_home, home_option, load_config, require_place
from taskclf_dagster.cli.output import say
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions, load_decision, report_path
from taskclf_dagster.domain.reporting.comparison_report import describe_pair
from taskclf_dagster.domain.reporting.report_document import render_report
from taskclf_dagster.domain.reporting.report_evidence import collect_evidence
from taskclf_dagster.domain.reporting.report_file import describe_stored
from taskclf_dagster.domain.retraining.model_comparison import compare_models
from taskclf_dagster.domain.storage.files import write_text
from taskclf_dagster.errors import DecisionNotFoundError
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import cores

LATEST = "latest"


@click.command("report")
@click.argument("decision_id", required=False)
@home_option
@config_option
@click.option("--compare", nargs=2, metavar="MODEL_A MODEL_B", help="Report on two models instead, on the dataset of the last run.")
@click.option("--output", type=GIVEN_PATH, help="The file to write. Default: in artifacts/reports; of --compare in this folder.")
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
def report_command(
    decision_id: str | None, home: Path | None, config: Path | None, compare: tuple[str, str] | None, output: Path | None, opens: bool
) -> None:
    """Print where the report of a decision is: an HTML file that needs nothing else. It is written if it is missing.

    DECISION_ID is that of `history`, or `latest`. What the home no longer has is left out, and named. --compare decides nothing.
    """
    if (decision_id is None) == (compare is None):
        raise click.UsageError("Give a DECISION_ID, `latest`, or --compare MODEL_A MODEL_B.")
    taskclf_home = existing_home(home)
    if output is not None:
        require_place(output)
    if compare is not None:
        path = _report_pair(taskclf_home, compare, config, output)
    else:
        path = _report_decision(taskclf_home, _find_decision(taskclf_home, decision_id or LATEST), output)
    say(path)
    if opens and not webbrowser.open(path.as_uri()):
        say("no browser was found; open the file by hand", err=True)


def _find_decision(home: Home, decision_id: str) -> PromotionDecision:
    """Returns a decision by its id, or the one with the latest as-of time; of several with that time the one that was written last.

    Raises:
        DecisionNotFoundError: there is none.
    """
    if decision_id != LATEST:
        return load_decision(home, decision_id)
    decisions = list_decisions(home)[0]
    if not decisions:
        raise DecisionNotFoundError(decision_id, home.decisions)
    newest = [each for each in decisions if (each.as_of, len(each.replaces)) == (decisions[0].as_of, len(decisions[0].replaces))]
    return max(newest, key=lambda each: (home.decisions / f"{each.decision_id}.json").stat().st_mtime_ns)


def _report_decision(home: Home, decision: PromotionDecision, output: Path | None) -> Path:
    """Writes the report of a decision if it is missing, or to another file if one is given, and says what is left out of it."""
    path = output or report_path(home, decision.decision_id)
    if output is not None or not path.is_file():
        evidence = collect_evidence(home, decision)
        for line in evidence.left_out:
            say(line, err=True)
        write_text(path, render_report(describe_stored(decision, evidence)))
    return path


def _report_pair(home: Home, models: tuple[str, str], config: Path | None, output: Path | None) -> Path:
    """Compares two models as `compare` does, and writes the report on them."""
    settings = load_config(home, config)
    found = compare_models(home, *models, config=settings, num_threads=cores())
    path = output or Path.cwd() / f"compare_{models[0]}_{models[1]}.html"
    write_text(path, render_report(describe_pair(found, settings)))
    return path
