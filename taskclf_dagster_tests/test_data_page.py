"""The page about data for analysis: its queries answer as the commands do, on a demo home with three decisions, and its columns exist."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.history_tables import MOVE_COLUMNS, RETRAIN_COLUMNS
from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.evaluation.performance_drops import PerformanceDrop
from taskclf_dagster.domain.monitoring.telemetry import TelemetrySnapshot
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home
from taskclf_dagster_tests.score_scenario import scores_frame, write_score_file, write_scores
from taskclf_dagster_tests.servers import PROJECT

PAGE = (PROJECT / "docs" / "data.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"^### ([^\n]+)\n(?:(?!^###).)*?```sql\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
SMALL = "auto_promote: true\nmin_class_windows: 15\nmin_windows: 50\nmax_negative_flips: 1.0\nmax_flip_excess: 1.0\nsearch: off\n"
EASY = (
    f"{SMALL}prove_reproducible: false\nregression_tolerance: 1.0\nanchor_tolerance: 1.0\nclearly_worse_margin: 1.0\n"
    "train_params: {num_boost_round: 20}\n"
)
STRICT = f"{EASY}gates: {{min_macro_f1: 0.999}}\n"


@dataclass
class Demo:
    """A demo home where two models were promoted and a third one was rejected."""

    home: Home
    instance: Path

    def run(self, *arguments: object) -> str:
        result = CliRunner(env={"DAGSTER_HOME": str(self.instance)}).invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    @property
    def status(self) -> dict:
        return json.loads(self.run("status", "--home", self.home.root, "--json"))

    @property
    def history(self) -> list[dict]:
        return json.loads(self.run("history", "--home", self.home.root, "--json"))

    @property
    def newest(self) -> PromotionDecision:
        return list_decisions(self.home)[0][0]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("data")
    demo = Demo(Home(folder / "home"), folder / "instance")
    demo.instance.mkdir()
    (demo.instance / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    demo.run("demo", demo.home.root, "--end", "2026-01-10", "--users", "2", "--days", "10")
    for name, settings, as_of in (("easy", EASY, "2026-01-09"), ("easy", EASY, "2026-01-10"), ("strict", STRICT, "2026-01-11")):
        config = folder / f"{name}.yaml"
        config.write_text(settings, encoding="utf-8")
        demo.run("retrain", "--home", demo.home.root, "--config", config, "--as-of", as_of, "--force")
    assert [retrain["outcome"] for retrain in demo.history] == ["REJECT", "PROMOTE", "PROMOTE"]
    return demo


def ask(demo: Demo, question: str, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The answer of a query of the page, typed in the folder of the home."""
    monkeypatch.chdir(demo.home.root)
    found = duckdb.sql(QUERIES[question])
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def test_there_is_a_query_for_each_question() -> None:
    assert list(QUERIES) == [
        "What runs now",
        "Why was mine not promoted",
        "What changes for me",
        "When is the next",
        "How do I go back",
        "What was served",
    ]


def test_what_was_served_has_each_window_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, says = make_home(tmp_path), partial(scores_frame, ["Build", "Write"])
    for start, lacking, lacking_beside in ((AS_OF - DAY, ["role", "served"], ["served"]), (AS_OF, [], [])):
        (scores,) = write_scores(home, says(start=start).assign(served=[True, False]))
        beside = scores.with_name("contender-contender.parquet")
        write_score_file(beside, says(start=start, model="contender").assign(role="contender", served=[False, True]))
        for path, columns in ((scores, lacking), (beside, lacking_beside)):  # as they were before the columns existed
            pq.write_table(pq.read_table(path, partitioning=None).drop_columns(columns), path)
    monkeypatch.chdir(home.root)
    answers = duckdb.sql(QUERIES["What was served"]).fetchall()
    assert [model for *_, model, _ in answers] == [MID, MID, MID, "contender"]


@pytest.mark.slow
def test_what_runs_now_is_what_the_status_says(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    (answer,) = ask(demo, "What runs now", monkeypatch)
    status = demo.status
    assert (answer["model_id"], answer["reject_threshold"]) == (status["active_model"], status["reject_threshold"])
    assert answer["since"] == read_history(demo.home).moves[-1].at


@pytest.mark.slow
def test_why_it_was_not_promoted_names_the_gates_of_the_newest_decision(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ask(demo, "Why was mine not promoted", monkeypatch)
    assert {answer["decision_id"] for answer in answers} == {demo.history[0]["decision_id"]} == {demo.newest.decision_id}
    missed = {gate.name for gate in demo.newest.gates if gate.status in ("FAIL", "INCONCLUSIVE", "ERROR")}
    assert {answer["name"] for answer in answers} == missed >= {"macro_f1"}
    (macro_f1,) = [answer for answer in answers if answer["name"] == "macro_f1"]
    assert (macro_f1["status"], json.loads(macro_f1["threshold"])) == ("FAIL", 0.999)
    assert "macro_f1" in demo.history[0]["reason"]


@pytest.mark.slow
def test_what_changes_for_me_are_the_minutes_of_the_receipt(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ask(demo, "What changes for me", monkeypatch)
    diff = demo.newest.prediction_diff
    assert diff is not None
    assert {answer["user_id"]: answer["minutes"] for answer in answers} == {user: sum(n.values()) for user, n in diff.by_user.items()}
    assert sum(answer["minutes"] for answer in answers) == diff.relabelled > 0


@pytest.mark.slow
def test_when_the_next_is_due_is_what_the_status_says(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    (answer,) = ask(demo, "When is the next", monkeypatch)
    status = demo.status
    assert (answer["outcome"], answer["due_at"]) == (status["last_outcome"], datetime.fromisoformat(status["due_at"]))


@pytest.mark.slow
def test_how_to_go_back_names_a_model_and_a_command_that_does_it(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    (answer,) = ask(demo, "How do I go back", monkeypatch)
    assert answer["model_id"] == demo.history[2]["new_version"]
    command = answer["command"].replace("TEXT", "tried").split()
    demo.run(*command[1:], "--home", demo.home.root)
    assert demo.status["active_model"] == answer["model_id"]
    left = demo.history[1]["new_version"]
    assert ask(demo, "How do I go back", monkeypatch) == []  # a rollback left the other one
    demo.run("unblock", left, "--reason", "tried", "--home", demo.home.root)
    (back,) = ask(demo, "How do I go back", monkeypatch)
    assert back["model_id"] == left
    demo.run("rollback", "--to", left, "--reason", "back", "--home", demo.home.root)


# --- Columns and keys -------------------------------------------------------------------------------------------------------------


def named(section: str) -> list[str]:
    """What the first column of the tables of a section names, in their order."""
    text = PAGE.split(f"\n{section}\n", 1)[1].split("\n#", 1)[0]
    return [name for row in re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)]


def test_the_tables_of_history_are_listed_in_full_and_in_their_order() -> None:
    assert named("## Retrains and changes of the model as tables") == [*RETRAIN_COLUMNS, *MOVE_COLUMNS]


def test_what_is_listed_of_records_is_in_them() -> None:
    lines = {file: set(re.findall(r"`(\w+)`", keys)) for file, keys in re.findall(r"^\| `(\S+)` \| (.+) \|$", PAGE, re.MULTILINE)}
    assert lines["telemetry_global.jsonl"] == set(TelemetrySnapshot.model_fields) - {"user_id", "suggestions_per_day"}
    assert lines["performance_drops/<model_id>.json"] == set(PerformanceDrop.model_fields)


@pytest.mark.slow
def test_the_columns_of_windows_and_predictions_are_in_the_files(demo: Demo) -> None:
    rows = dict(re.findall(r"^\| `(\S+\.parquet)` \| (.+) \|$", PAGE.split("### Windows and predictions")[1].split("###")[0], re.MULTILINE))
    found: dict[str, set[str]] = {}
    for path in [*demo.home.snapshots.glob("*/windows/*.parquet"), *demo.home.predictions.glob("*/*.parquet")]:
        kind = "<model_id>.recent.parquet" if path.name.endswith(".recent.parquet") else "<model_id>.parquet"
        kind = "part-NNN.parquet" if path.name.startswith("part-") else kind
        found.setdefault(kind, set()).update(pq.read_schema(path).names)
    listed = {kind: set(re.findall(r"`(\w+)`", row)) for kind, row in rows.items()}
    inputs = found["part-NNN.parquet"] - listed["part-NNN.parquet"]
    assert "keys_per_min" in inputs  # they are not listed one by one
    assert listed == {**found, "part-NNN.parquet": found["part-NNN.parquet"] - inputs}
    assert not any(name.startswith("raw_") for names in found.values() for name in names)


@pytest.mark.slow
def test_the_keys_of_decisions_are_in_the_receipts(demo: Demo) -> None:
    document = json.loads((demo.home.decisions / f"{demo.newest.decision_id}.json").read_text(encoding="utf-8"))
    missing = []
    for name in named("### Decisions"):
        inner: object = document
        for part in name.removesuffix("[]").split("."):
            if not isinstance(inner, dict) or part not in inner:
                missing.append(name)
                break
            inner = inner[part]
    assert missing == []
