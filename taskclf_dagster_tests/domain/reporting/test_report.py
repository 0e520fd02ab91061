"""The HTML report of a decision: figures worked out by hand, hostile text, size, and what is left out."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import load_decision, report_path, save_decision
from taskclf_dagster.domain.decision.gate import RegressionResult
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION
from taskclf_dagster.domain.evaluation.calibration_metrics import CalibrationCurve
from taskclf_dagster.domain.evaluation.prediction_diff import ChangedBlock, RelabelledPair
from taskclf_dagster.domain.reporting.comparison_sections import score_labels
from taskclf_dagster.domain.reporting.evaluation_sections import pool_curves
from taskclf_dagster.domain.reporting.report_file import make_report, try_to_write_report, write_report
from taskclf_dagster.domain.retraining.reports import ChallengerReport
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.errors import DecisionNotFoundError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import ONLY, SHIPPED, Candidate, receipt, reseal
from taskclf_dagster_tests.models import NEW, a_decision, a_report, beside_champion, duel_rows, named, some
from taskclf_dagster_tests.scenario import AS_OF, DAY, make_home, retrain_config

MEGABYTE = 1_000_000

CALIBRATION = CalibrationCurve(mean_predicted_value=[0.05, 0.96], fraction_of_positives=[0.1, 0.9], windows=[300, 100])


class Page(HTMLParser):
    """The tags, attributes, headings and tables of a report."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self._within: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("h1", "h2"):
            self.headings.append("")
        self._within = tag if tag in ("td", "th", "h1", "h2") else self._within

    def handle_endtag(self, tag: str) -> None:
        self._within = None if tag == self._within else self._within

    def handle_data(self, data: str) -> None:
        if self._within in ("td", "th"):
            self.rows[-1][-1] += data
        if self._within in ("h1", "h2"):
            self.headings[-1] += data

    def row(self, *beginning: str) -> list[str]:
        return next(row for row in self.rows if tuple(row[: len(beginning)]) == beginning)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, PromotionDecision]:
    """A home with the receipt of a better model and the record of its evaluation."""
    home = make_home(tmp_path_factory.mktemp("better"))
    made = receipt(home)
    evaluated = ChallengerReport(
        model_id=NEW,
        dataset_hash=made.dataset.dataset_hash,
        failure=None,
        files=made.challenger.files,
        report=a_report(calibration={"Build": CALIBRATION}),
        recent_predictions=None,
        rule_baseline=None,
        lookup_baseline=None,
        reproduction=None,
        probe_digest=None,
        gates=RegressionResult(gates=[]),
        config_hash="",
    )
    decision = reseal(made, challenger=made.challenger.model_copy(update={"report_hash": evaluated.record_hash}))
    write_json(home.records / "challenger_report" / "000001-run.json", evaluated.model_dump(mode="json"))
    save_decision(home, decision)
    return home, decision


def test_the_report_has_every_section_and_the_verdict_as_its_heading(better: tuple[Home, PromotionDecision]) -> None:
    page = Page(make_report(*better))
    assert page.headings[0] == "Promoted The new model passed all 20 checks that apply and became the running model."
    assert page.headings[1:] == [
        "Checks",
        "New and running model on the same minutes",
        "By label",
        "By person",
        "By app, hour and other kinds of use",
        "What it confuses",
        "How sure it is, and how often it is right",
        "What changes for you",
        "Data",
        "Settings",
        "Protections",
        "Hashes, and how to verify them",
        "Left out",
    ]


def test_every_gate_is_in_the_report(better: tuple[Home, PromotionDecision]) -> None:
    page = Page(make_report(*better))
    judged = [row for row in page.rows if len(row) == 4 and row[1] == "passed"]
    assert {row[3].split(":")[0] for row in judged} == set(REQUIRED_GATES)


def test_figures_by_label_are_those_of_the_counts(home: Home) -> None:
    """Of 50 Meet minutes the new model has 10 wrong, called ReadResearch, and the running one none."""
    rows = duel_rows({"ann": 5, "bob": 5})
    meet = rows["label"] == "Meet"
    wrong = (meet & (meet.cumsum() <= 10)).to_numpy()
    comparison = beside_champion(rows, named(rows, wrong=wrong), named(rows))
    support, named_so = int(meet.sum()), int((rows["label"] == "ReadResearch").sum())
    ours, theirs = score_labels(comparison, CHALLENGER), score_labels(comparison, CHAMPION)
    assert (ours["Meet"].precision, ours["Meet"].recall) == (1.0, (support - 10) / support)
    assert ours["Meet"].f1 == 2 * (support - 10) / (2 * support - 10)
    assert ours["ReadResearch"].precision == named_so / (named_so + 10)
    assert (theirs["Meet"].precision, theirs["Meet"].recall, theirs["Meet"].f1) == (1.0, 1.0, 1.0)
    text = make_report(home, receipt(home, Candidate(comparison=comparison, config=SHIPPED)))
    found = Page(text).row("Meet", f"{support:,}")
    assert found[2:6] == ["1.000", "1.000", "1.000", f"{(support - 10) / support:.3f}"]
    assert found[6:10] == ["1.000", f"{2 * (support - 10) / (2 * support - 10):.3f}", "10", "0"]
    assert "10 minutes become wrong, 0 become right" in text


def test_reliability_is_pooled_over_labels_by_the_number_of_predictions() -> None:
    curves = {
        "Build": CALIBRATION,
        "Meet": CalibrationCurve(mean_predicted_value=[0.09], fraction_of_positives=[0.3], windows=[100]),
    }
    assert pool_curves(curves) == [pytest.approx((0.06, 0.15, 400)), pytest.approx((0.96, 0.9, 100))]


def test_what_changes_for_each_person_is_shown_with_shortened_names(home: Home) -> None:
    user = "0123456789abcdef"
    made = receipt(home)
    assert made.prediction_diff is not None
    block = ChangedBlock(user_id=user, start=AS_OF - DAY, end=AS_OF - DAY, minutes=7, champion_label="Build", challenger_label="Debug")
    diff = made.prediction_diff.model_copy(
        update={
            "windows": 1000,
            "relabelled": 25,
            "by_label": [RelabelledPair(champion_label="Build", challenger_label="Debug", minutes=25)],
            "by_user": {user: {"Debug": 20, "Meet": 5}},
            "largest_blocks": [block],
        }
    )
    text = make_report(home, reseal(made, prediction_diff=diff))
    page = Page(text)
    assert "25 of 1,000 minutes" in text
    assert page.row("01234567…", "25") == ["01234567…", "25", "Debug, 20"]
    assert page.row("01234567…", f"{AS_OF - DAY:%Y-%m-%d %H:%M}")[2:] == ["7", "Build", "Debug"]
    assert user not in text


def test_settings_that_are_not_as_shipped_or_changed_are_named(home: Home) -> None:
    before = receipt(home, Candidate(config=retrain_config(min_improvement=0.02, slice_gate=True)), as_of=AS_OF - DAY)
    save_decision(home, before)
    now = receipt(home, Candidate(config=retrain_config(min_improvement=0.01, slice_gate=True)))
    page = Page(make_report(home, now))
    assert page.row("min_improvement") == ["min_improvement", "0", "0.02", "0.01", "yes"]
    assert page.row("slice_gate") == ["slice_gate", "false", "true", "true", "no"]
    assert [row for row in page.rows if row[0] == "gates.min_macro_f1"] == []


def test_a_report_that_is_written_again_is_the_same(better: tuple[Home, PromotionDecision]) -> None:
    home, decision = better
    path = write_report(home, decision)
    assert path == report_path(home, decision.decision_id)
    first = path.read_bytes()
    assert write_report(home, load_decision(home, decision.decision_id)).read_bytes() == first


def test_what_the_home_no_longer_has_is_left_out_and_named(home: Home, better: tuple[Home, PromotionDecision]) -> None:
    text = make_report(home, better[1])
    assert "What it confuses" not in text
    assert "confusions and calibration are left out" in text
    assert "running model&#39;s evaluation is gone" in text


@pytest.mark.parametrize("name", [*ONLY, "nothing to compare with", "no gates"])
def test_every_decision_has_a_report(home: Home, name: str) -> None:
    decision = receipt(home, ONLY[name]()) if name in ONLY else a_decision(home, gates=[] if name == "no gates" else None)
    assert Page(make_report(home, decision)).headings


def test_hostile_text_in_a_receipt_is_only_text(home: Home) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>\u202e\x1b[31m"
    rows = duel_rows({evil: 5, "bob": 5})
    comparison = beside_champion(rows, named(rows), named(rows, wrong=some(rows, 0.1)))
    decision = receipt(home, Candidate(comparison=comparison, config=SHIPPED))
    gates = [gate.model_copy(update={"detail": evil, "status": "INCONCLUSIVE"}) for gate in decision.gates]
    changes = {"gates": gates, "reason": evil, "home": evil, "code_version": evil, "protections": [evil], "champion_warnings": [evil]}
    text = make_report(home, reseal(decision, **changes))
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "link"} == set()
    assert [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)] == []
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_the_report_loads_and_runs_nothing(better: tuple[Home, PromotionDecision]) -> None:
    text = make_report(*better)
    page = Page(text)
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"|url\(|@import|style=", text) == []


def test_every_table_has_a_caption_and_every_picture_a_description(better: tuple[Home, PromotionDecision]) -> None:
    tags = [tag for tag, _ in Page(make_report(*better)).tags]
    assert tags.count("caption") == tags.count("table") > 8
    assert tags.count("desc") == tags.count("svg") == 3
    assert tags.count("h1") == 1


def test_a_report_on_a_hundred_people_is_small(home: Home) -> None:
    rows = duel_rows({f"{number:08x}{'0' * 24}": 3 for number in range(100)})
    comparison = beside_champion(rows, named(rows), named(rows, wrong=some(rows, 0.1)))
    decision = receipt(home, Candidate(comparison=comparison, config=SHIPPED))
    assert decision.prediction_diff is not None
    by_user = {f"{number:08x}{'0' * 24}": {"Build": number, "Meet": 1} for number in range(100)}
    text = make_report(home, reseal(decision, prediction_diff=decision.prediction_diff.model_copy(update={"by_user": by_user})))
    assert len(text.encode()) < MEGABYTE / 4
    assert len([row for row in Page(text).rows if row and row[0].endswith("…")]) > 100


def test_a_report_that_cannot_be_written_is_a_problem_and_no_error(home: Home) -> None:
    decision = receipt(home)
    home.artifacts.mkdir(exist_ok=True)
    home.reports.write_text("a file where the folder should be", encoding="utf-8")
    assert try_to_write_report(home, decision).problem is not None
    home.reports.unlink()
    written = try_to_write_report(home, decision)
    assert written.problem is None
    assert written.path.is_file()


@pytest.mark.parametrize("name", ["../active", "..", "a/b", "2026-02-01_000000_" + "a" * 300, "x", "", "2026-02-01_000000_a\0"])
def test_an_id_that_is_none_has_no_report(home: Home, name: str) -> None:
    with pytest.raises(DecisionNotFoundError):
        report_path(home, name)
