"""The evidence of a decision as a person sees it: the figures of the record, nothing invented, nothing left out, and small."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.display.decision_metadata import (
    ENOUGH_USER_DAYS,
    SHOWN_SLICES,
    anchor_table,
    comparative_checks,
    comparison_metadata,
    draw_interval,
    flips_table,
    group_table,
    leakage_table,
    rejected_by_day,
    slice_table,
    suggestions_table,
    summarize_comparison,
)
from taskclf_dagster.domain.data.feature_schema import LABELS, REJECTED_LABEL
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES, SLICE_GATE
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.decision.suggestion_store import LabelSuggestions
from taskclf_dagster.domain.decision.verification import judge_comparative_gates
from taskclf_dagster.domain.evaluation.comparison import AnchorComparison, Comparison
from taskclf_dagster.domain.evaluation.day_effects import DayEffect, DayEffects
from taskclf_dagster.domain.evaluation.label_suggestions import Suggestion
from taskclf_dagster.domain.evaluation.leakage import LeakageReport
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff, summarize_diff
from taskclf_dagster_tests.dagster_internals import normalize_metadata
from taskclf_dagster_tests.decision_scenario import SHIPPED, SLICED, slice_lost
from taskclf_dagster_tests.models import MID, NEW, OLD, a_decision, beside_champion, duel_rows, named, sliced, some, with_changes
from taskclf_dagster_tests.scenario import AS_OF, DAY, MINUTE, make_home, retrain_config

LARGEST_METADATA = 300_000
"""Bytes of what promotion_decision leaves in the event log."""

TABLES = {
    "macro_f1_no_regression": "interval",
    "not_worse_than_anchor": "anchors",
    "no_user_clearly_worse": "users",
    "no_class_clearly_worse": "labels",
    "negative_flips": "flips",
}
"""What a comparative gate shows beside its figures."""


# --- Inputs -----------------------------------------------------------------------------------------------------------------------


def _comparison(*, minutes: Mapping[str, int] | None = None, days: int = 5, config: RetrainConfig | None = None) -> Comparison:
    """The challenger is wrong about a tenth of the windows, the champion about another fifth; forty app categories."""
    rows = duel_rows(minutes, days=days)
    rows = sliced(rows, category=[f"category-{i % 40:02}" for i in range(len(rows))])
    ours, theirs = named(rows, wrong=some(rows, 0.1)), named(rows, wrong=some(rows, 0.2, after=0.1))
    return beside_champion(rows, ours, theirs, config=config)


def _anchor(model_id: str = OLD, **changes: object) -> AnchorComparison:
    figures: dict[str, object] = {"windows": 400, "challenger_macro_f1": 0.81234, "anchor_macro_f1": 0.8, "difference": 0.01234}
    return AnchorComparison.model_validate(
        {"model_id": model_id, "ran_at": AS_OF - 7 * DAY, "detail": "+0.0123 on 400 windows", **figures, **changes}
    )


def _changes(*, users: Sequence[str] = ("ann", "bob")) -> PredictionDiff:
    """A day of each user: ten minutes go from Build to Write, five from Meet to no label, the rest stay."""
    n = 480
    frames = [pd.DataFrame({"user_id": user, "bucket_start_ts": pd.date_range(AS_OF - DAY, periods=n, freq="min")}) for user in users]
    rows = pd.concat(frames, ignore_index=True).astype({"user_id": "category"})
    build, write, meet, rejected = LABELS.index("Build"), LABELS.index("Write"), LABELS.index("Meet"), len(LABELS)
    before = np.tile(np.r_[np.full(240, build), np.full(240, meet)], len(users))
    after = before.copy().reshape(len(users), n)
    after[:, 60:70], after[:, 300:305] = write, rejected
    return summarize_diff(rows, before, after.reshape(-1), unscored=3, days=7, end=AS_OF)


def _decision(
    tmp_path: Path,
    comparison: Comparison | None,
    *,
    anchors: Sequence[AnchorComparison] = (),
    changes: PredictionDiff | None = None,
    config: RetrainConfig | None = None,
) -> PromotionDecision:
    """A decision with the comparative gates that follow from what it compares; without a comparison there was no champion."""
    settings = config or retrain_config()
    base = a_decision(make_home(tmp_path))
    draft = with_changes(
        base,
        comparison=comparison,
        anchors=list(anchors),
        prediction_diff=changes,
        champion_state="none" if comparison is None else "ok",
        protections=["evidence", "anchors"],
        policy=settings.policy,
    )
    candidate = [gate for gate in base.gates if gate.kind == "candidate"]
    return seal(with_changes(draft, gates=[*candidate, *judge_comparative_gates(draft, settings)]))


def _rows(value: object) -> list[dict[str, object]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def _shown(decision: PromotionDecision) -> dict[str, object]:
    return comparison_metadata(decision, draw_interval(decision, replicates=200))


def _check_list(decision: PromotionDecision) -> list[dg.AssetCheckResult]:
    return comparative_checks(decision, draw_interval(decision, replicates=200))


def _checks(decision: PromotionDecision) -> dict[str, dg.AssetCheckResult]:
    return {str(check.check_name): check for check in _check_list(decision)}


# --- Words ------------------------------------------------------------------------------------------------------------------------


def test_the_comparison_is_said_in_sentences_with_both_figures_and_how_sure_it_is(snapshot: SnapshotAssertion) -> None:
    comparison, few = _comparison(), _comparison(minutes={"ann": 1}, days=1)
    assert few.macro_f1_delta is None
    assert summarize_comparison(comparison).endswith(comparison.evidence.summary)
    assert [summarize_comparison(shown) for shown in (comparison, few, None)] == snapshot


# --- What to label next -------------------------------------------------------------------------------------------------------------


def test_days_that_made_the_difference_are_a_table_with_the_best_first() -> None:
    one = DayEffect(
        user_id="user-1", day=date(2026, 3, 10), learned=80, compared=4, difference=-0.01, margin=0.01, passes=True, stands_out=True
    )
    others = [one.model_copy(update={"margin": margin, "passes": False}) for margin in (-0.02, None)]
    shown = rejected_by_day(DayEffects(days=(one, *others)))
    assert [row["it would"] for row in _rows(shown["rejected_by_day"])] == ["pass by 0.0100", "fail by 0.0200", "be undecided"]
    assert _rows(shown["rejected_by_day"])[0]["without"] == "user-1, Tue 03-10"
    assert "Tuesday" in str(shown["why_rejected"])
    assert list(rejected_by_day(DayEffects(reason="off"))) == ["why_rejected"]
    assert rejected_by_day(None) == {}


def test_what_to_label_next_is_a_narrow_table_with_short_names_in_its_order() -> None:
    users = ("af896801-1111", "cd5cc9de-2222")
    start = AS_OF - DAY
    suggestions = [
        Suggestion(
            user_id=user, start=start, end=start + 12 * MINUTE, kind="uncovered_day", label="Build", confidence=0.5, reason="The day."
        )
        for user in users
    ]
    found = LabelSuggestions(decision_id="d", as_of=AS_OF, days=7, suggestions=tuple(suggestions))
    assert _rows(suggestions_table(found)) == [
        {"user": f"{user[:8]}…", "day": "02-03", "from - to": "00:00 - 00:12", "why": "The day."} for user in users
    ]


def test_without_anything_to_label_the_reason_is_shown() -> None:
    found = LabelSuggestions(decision_id="d", as_of=AS_OF, days=7)
    assert [
        suggestions_table(found.model_copy(update=changes)).value for changes in ({}, {"unlabeled": 9}, {"problem": "it is torn."})
    ] == [
        "every recorded minute of the 7 days before it has a label",
        "of 9 unlabeled minutes in the 7 days before it, none stands out",
        "none could be searched for: it is torn",
    ]


# --- Tables -----------------------------------------------------------------------------------------------------------------------


def test_flips_are_shown_by_label_with_their_sum() -> None:
    rows = duel_rows()
    build = rows["label"] == "Build"
    flips = beside_champion(
        rows,
        named(rows, wrong=some(rows, 0.5, among=build)),
        named(rows, wrong=some(rows, 0.2, after=0.5, among=build) | some(rows, 0.1, among=rows["label"] == "Meet")),
    ).flips
    shown = {row["label"]: row for row in _rows(flips_table(flips))}
    assert list(shown) == list(LABELS)
    assert shown["Build"] == {"label": "Build", "became wrong": 25, "became right": 10, "net": -15}
    assert shown["Meet"] == {"label": "Meet", "became wrong": 0, "became right": 5, "net": 5}
    assert shown["Write"] == {"label": "Write", "became wrong": 0, "became right": 0, "net": 0}


def test_users_are_shown_with_their_difference_and_how_sure_it_is_that_they_got_worse() -> None:
    rows = duel_rows({"ann": 5, "bob": 5}, days=6)
    of_bob = rows["user_id"] == "bob"
    comparison = beside_champion(rows, named(rows, wrong=some(rows, 0.6, among=of_bob)), named(rows, wrong=some(rows, 0.2, among=~of_bob)))
    users = {row["name"]: row for row in _rows(group_table(comparison.evidence.by_user))}
    found = {group.name: group for group in comparison.evidence.by_user}
    assert (users["ann"]["windows"], users["ann"]["days"], users["ann"]["change"]) == (240, 6, "+0.2000")
    assert users["bob"]["change"] == "-0.6000"
    assert users["bob"]["p of no decline"] == f"{found['bob'].adjusted_p:.4f}" == "0.0000"
    assert users["ann"]["p of no decline"] == f"{found['ann'].adjusted_p:.4f}"


def test_a_group_with_too_few_days_or_without_true_windows_shows_dashes_not_zeros() -> None:
    rows = duel_rows({"ann": 6}, days=2)
    without_meet = rows[rows["label"] != "Meet"].reset_index(drop=True)
    by_label = beside_champion(without_meet, named(without_meet), named(without_meet), config=retrain_config(min_class_windows=1)).evidence
    shown = _rows(group_table(by_label.by_label))
    assert "Meet" not in {row["name"] for row in shown}
    assert {row["p of no decline"] for row in shown} == {"-"}
    silent = by_label.by_user[0].model_copy(update={"difference": None})
    assert _rows(group_table([silent]))[0]["change"] == "-"


def test_anchors_are_shown_with_when_they_ran_and_both_figures(tmp_path: Path) -> None:
    unscored = _anchor(MID, challenger_macro_f1=None, anchor_macro_f1=None, difference=None, detail="12 windows; too few")
    first, second = _rows(anchor_table(_decision(tmp_path, _comparison(), anchors=[_anchor(), unscored])))
    assert first == {
        "model": OLD,
        "ran": "2026-01-28",
        "new": "0.8123",
        "anchor": "0.8000",
        "detail": "+0.0123 on 400 windows",
    }
    assert (second["model"], second["new"], second["anchor"]) == (MID, "-", "-")
    assert second["detail"] == "12 windows; too few"


def test_what_each_model_learned_from_is_shown_with_how_that_is_known() -> None:
    comparison = _comparison()
    by_dates = LeakageReport(
        model_id=MID, basis="training_dates", windows=400, trained_on=30, neighbors=7, trained_until=AS_OF - DAY, summary="37 of 400"
    )
    exclusion = comparison.exclusion.model_copy(update={"leakage": [comparison.exclusion.leakage[0], by_dates]})
    ours, theirs = _rows(leakage_table(comparison.model_copy(update={"exclusion": exclusion})))
    assert (ours["model"], ours["by"], ours["learned"], ours["near"]) == (NEW, "row hashes", 0, 0)
    assert theirs == {"model": MID, "by": "training dates", "learned": 30, "near": 7, "until": "2026-02-03"}


@pytest.mark.parametrize("empty", [lambda d: anchor_table(d), lambda _: group_table([])], ids=["anchors", "groups"])
def test_a_table_of_nothing_says_none(tmp_path: Path, empty: object) -> None:
    assert empty(_decision(tmp_path, _comparison())) == dg.MetadataValue.text("none")


# --- What would change ------------------------------------------------------------------------------------------------------------


def test_what_would_change_is_shown_by_label_by_user_and_by_block(tmp_path: Path) -> None:
    changes = _changes()
    shown = _shown(_decision(tmp_path, _comparison(), changes=changes))
    assert shown["what_changes"] == changes.summary
    assert _rows(shown["relabelled_minutes"]) == [
        {"before": "Build", "now": "Write", "minutes": 20},
        {"before": "Meet", "now": REJECTED_LABEL, "minutes": 10},
    ]
    assert _rows(shown["relabelled_by_user"]) == [
        {"user": user, "now": label, "minutes": minutes}
        for user in ("ann", "bob")
        for label, minutes in (("Write", 10), (REJECTED_LABEL, 5))
    ]
    largest = _rows(shown["largest_changes"])
    assert [row["minutes"] for row in largest] == [10, 10, 5, 5]
    assert largest[0] == {"user": "ann", "start": "2026-02-03 01:00", "minutes": 10, "change": "Build to Write"}


def test_where_nothing_changes_the_tables_say_none(tmp_path: Path) -> None:
    nothing = _changes().model_copy(
        update={"relabelled": 0, "by_label": [], "by_user": {}, "largest_blocks": [], "summary": "all the same"}
    )
    shown = _shown(_decision(tmp_path, _comparison(), changes=nothing))
    assert {shown[name] for name in ("relabelled_minutes", "relabelled_by_user", "largest_changes")} == {dg.MetadataValue.text("none")}


def test_without_a_preview_nothing_is_said_about_changes(tmp_path: Path) -> None:
    shown = _shown(_decision(tmp_path, _comparison()))
    assert not {"what_changes", "relabelled_minutes", "relabelled_by_user", "largest_changes"} & set(shown)


# --- What the decision shows -------------------------------------------------------------------------------------------------------


def test_the_decision_shows_words_protections_picture_and_every_table(tmp_path: Path) -> None:
    shown = _shown(_decision(tmp_path, _comparison(), anchors=[_anchor()], changes=_changes()))
    assert shown["protections"] == dg.MetadataValue.md("- evidence\n- anchors")
    assert isinstance(shown["interval"], dg.MarkdownMetadataValue)
    assert "data:image/svg+xml" in (shown["interval"].md_str or "")
    assert len(shown["interval"].md_str or "") < 1000  # Dagster shows longer markdown in a pop-up only
    assert "data:image/png" in (shown["resamples"].md_str or "")
    tables = {name for name, value in shown.items() if isinstance(value, dg.TableMetadataValue)}
    assert tables == {
        *("anchors", "learned_from", "flips", "users", "labels", "slices"),
        *("relabelled_minutes", "relabelled_by_user", "largest_changes"),
    }


def test_without_a_champion_the_decision_shows_that_and_no_empty_comparison(tmp_path: Path) -> None:
    shown = _shown(_decision(tmp_path, None))
    assert set(shown) == {"protections", "anchors"}
    assert shown["anchors"] == dg.MetadataValue.text("none")


# --- Comparative gates as checks ----------------------------------------------------------------------------------------------------


def test_every_comparative_gate_is_a_check_and_the_advice_comes_last(tmp_path: Path) -> None:
    checks = _check_list(_decision(tmp_path, _comparison()))
    assert [check.check_name for check in checks] == [*COMPARATIVE_GATES, ENOUGH_USER_DAYS]
    assert {check.severity for check in checks[:-1] if check.check_name != SLICE_GATE} == {dg.AssetCheckSeverity.ERROR}
    assert checks[-1].severity == dg.AssetCheckSeverity.WARN


@pytest.mark.parametrize("name", TABLES)
def test_a_comparative_gate_carries_the_picture_or_table_that_it_follows_from(tmp_path: Path, name: str) -> None:
    decision = _decision(tmp_path, _comparison(), anchors=[_anchor()])
    metadata = _checks(decision)[name].metadata
    assert metadata[TABLES[name]] == _shown(decision)[TABLES[name]]
    assert metadata["verdict"].value in ("PASS", "FAIL")


def test_the_regression_gate_says_how_sure_its_figure_is(tmp_path: Path) -> None:
    decision = _decision(tmp_path, _comparison())
    assert decision.comparison is not None
    metadata = _checks(decision)["macro_f1_no_regression"].metadata
    assert metadata["evidence"].value == decision.comparison.evidence.summary
    assert metadata["observed"].value == pytest.approx(0.1)
    assert metadata["threshold"].value == -0.02


def test_the_picture_of_the_regression_gate_has_the_bound_of_the_policy(tmp_path: Path) -> None:
    comparison = _comparison()
    pictures = {
        policy: _checks(_decision(tmp_path, comparison, config=retrain_config(evidence_policy=policy)))["macro_f1_no_regression"].metadata[
            "interval"
        ]
        for policy in ("point", "hold", "superior")
    }
    assert pictures["point"] == pictures["hold"] != pictures["superior"]


def test_without_a_champion_every_comparative_gate_is_green_does_not_apply_and_carries_nothing(tmp_path: Path) -> None:
    checks = _checks(_decision(tmp_path, None))
    beside = {name: check for name, check in checks.items() if name not in ("not_rolled_back", ENOUGH_USER_DAYS)}
    assert {check.metadata["verdict"].value for check in beside.values()} == {"NOT_APPLICABLE"}
    assert all(check.passed for check in checks.values())
    assert not {"interval", "anchors", "users", "labels", "slices", "flips"} & {key for check in beside.values() for key in check.metadata}


@pytest.mark.parametrize(("on", "severity"), [(False, dg.AssetCheckSeverity.WARN), (True, dg.AssetCheckSeverity.ERROR)])
def test_a_slice_that_is_clearly_worse_is_a_warning_and_red_where_slice_gate_is_on(
    tmp_path: Path, on: bool, severity: dg.AssetCheckSeverity
) -> None:
    config = SLICED if on else SHIPPED
    worse, fine = (_checks(_decision(tmp_path, made, config=config))[SLICE_GATE] for made in (slice_lost(), slice_lost(0.0)))
    assert (worse.passed, worse.severity, fine.passed) == (False, severity, True)
    assert worse.description is not None
    assert worse.description.startswith("FAIL" if on else "Advice, slice_gate is off. FAIL: app category: terminal has changed by -0.2000")
    assert _rows(worse.metadata["slices"])[0] == {
        "slice": "app category: terminal",
        "windows": 400,
        "days": 10,
        "new": "0.8000",
        "champion": "1.0000",
        "change": "-0.2000",
        "interval": "-0.200 to -0.200",
        "p of no decline": "0.0000",
    }


def test_the_table_of_slices_has_the_largest_losses_and_no_more_than_twenty_rows(tmp_path: Path) -> None:
    decision = _decision(tmp_path, _comparison())
    assert decision.comparison is not None
    assert decision.comparison.slices is not None
    assert len(decision.comparison.slices.slices) > SHOWN_SLICES == 20
    shown = _rows(slice_table(decision))
    assert len(shown) == SHOWN_SLICES
    changes = [float(str(row["change"])) for row in shown]
    assert changes == sorted(changes)
    uncounted = seal(with_changes(decision, comparison=decision.comparison.model_copy(update={"slices": None})))
    assert slice_table(uncounted) == dg.MetadataValue.text("none")
    assert _checks(uncounted)[SLICE_GATE].passed


@pytest.mark.parametrize(("days", "fewest", "green"), [(5, 10, True), (5, 11, False)])
def test_too_few_user_days_are_advice_with_both_numbers(
    tmp_path: Path, days: int, fewest: int, green: bool, snapshot: SnapshotAssertion
) -> None:
    config = retrain_config(min_user_days=fewest)
    check = _checks(_decision(tmp_path, _comparison(days=days, config=config), config=config))[ENOUGH_USER_DAYS]
    assert check.passed is green
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["user_days"].value == 10
    assert check.description == snapshot


def test_without_a_comparison_the_advice_is_green_and_shows_no_number(tmp_path: Path) -> None:
    check = _checks(_decision(tmp_path, None))[ENOUGH_USER_DAYS]
    assert (check.passed, check.metadata) == (True, {})


# --- Size -------------------------------------------------------------------------------------------------------------------------


def test_what_a_decision_about_twenty_people_leaves_in_the_event_log_stays_small(tmp_path: Path) -> None:
    people = [f"person-{number:02}" for number in range(20)]
    comparison = _comparison(minutes=dict.fromkeys(people, 8), days=6)
    anchors = [_anchor(f"2026-01-0{number}_060000_run-000{number}", ran_at=AS_OF - timedelta(days=number)) for number in range(1, 6)]
    decision = _decision(tmp_path, comparison, anchors=anchors, changes=_changes(users=people))
    shown = dg.AssetMaterialization("promotion_decision", metadata=normalize_metadata(_shown(decision)))
    checks = [normalize_metadata(check.metadata) for check in _check_list(decision)]
    sizes = [len(dg.serialize_value(each)) for each in (shown, *checks)]
    assert 10_000 < sum(sizes) < LARGEST_METADATA, sizes
