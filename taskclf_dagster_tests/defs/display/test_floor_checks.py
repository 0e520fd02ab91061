"""Tests the checks of a floor that is missed, alone and beside the champion."""

import dagster as dg
import pytest

from taskclf_dagster.defs.display.model_metadata import challenger_report_checks
from taskclf_dagster.defs.display.promotion_metadata import floors_check
from taskclf_dagster.home import Home
from taskclf_dagster_tests.decision_scenario import Candidate, receipt, scored
from taskclf_dagster_tests.models import beside_champion, duel_rows, named, some
from taskclf_dagster_tests.retrain_scenario import Decide, a_challenger
from taskclf_dagster_tests.scenario import make_home, retrain_config


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"))


def _said(home: Home, policy: str, wrong: float) -> dg.AssetCheckResult:
    """The check of the floors of a challenger with macro-F1 0.6, beside a champion with 40 % wrong."""
    rows, config = duel_rows(), retrain_config(auto_promote=True, floor_policy=policy)
    comparison = beside_champion(rows, named(rows, wrong=some(rows, wrong)), named(rows, wrong=some(rows, 0.4)))
    return floors_check(receipt(home, Candidate(report=scored(macro_f1=0.6), comparison=comparison, config=config)))


def test_the_check_of_the_floors_says_below_the_floor_and_not_below_the_champion(home: Home) -> None:
    passed, worse, strict = _said(home, "improve", 0.4), _said(home, "improve", 0.44), _said(home, "strict", 0.4)
    assert [check.passed for check in (passed, worse, strict)] == [True, False, False]
    assert "PASS: macro_f1: below the floor, not below the champion: 0.6000 < 0.65" in (passed.description or "")
    assert "FAIL: macro_f1: below the floor, and below the champion" in (worse.description or "")
    assert floors_check(receipt(home)).description == "Every floor is reached."


@pytest.mark.parametrize(("policy", "severity"), [("strict", dg.AssetCheckSeverity.ERROR), ("improve", dg.AssetCheckSeverity.WARN)])
def test_a_missed_floor_of_the_challenger_alone_is_a_warning_where_the_decision_judges_it_again(
    home: Home, policy: str, severity: dg.AssetCheckSeverity
) -> None:
    config = retrain_config(floor_policy=policy)
    report = Decide(home, config=config, figures={"macro_f1": 0.6, "reject_rate": 0.4})
    report.make()  # writes the bundle
    checks = {check.check_name: check for check in challenger_report_checks(report._challenger_report(), a_challenger(), config.evaluation)}
    assert (checks["macro_f1"].passed, checks["macro_f1"].severity) == (False, severity)
    assert ("no_floor_is_missed of promotion_decision" in (checks["macro_f1"].description or "")) == (policy == "improve")
    assert checks["reject_rate_bounds"].severity == dg.AssetCheckSeverity.ERROR
