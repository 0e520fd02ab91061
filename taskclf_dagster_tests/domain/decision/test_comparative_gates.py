"""Every gate beside another model: at its threshold, just off it, undecided and why, without a figure, with NaN, and when it raises."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES, check_regression_gates
from taskclf_dagster.domain.decision.gate import RegressionGate, RegressionResult, Status
from taskclf_dagster.domain.evaluation.block_counts import Flips
from taskclf_dagster.domain.evaluation.comparison import AnchorComparison, Comparison
from taskclf_dagster.domain.evaluation.significance import GroupSignificance
from taskclf_dagster.domain.registry.anchors import find_anchors
from taskclf_dagster.domain.registry.history import History
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster_tests.decision_scenario import Raising
from taskclf_dagster_tests.models import MID, NEW, OLD, beside_champion, duel_rows, named, sliced, some
from taskclf_dagster_tests.scenario import AS_OF, DAY, retrain_config

NAN = float("nan")
ON_WINDOWS = ("macro_f1_no_regression", "no_user_clearly_worse", "no_class_clearly_worse", "negative_flips")
"""Gates that are judged on the windows of challenger and champion, whatever the settings."""


@cache
def even() -> Comparison:
    """Two models that say the same of 400 windows on ten user-days, a tenth of it wrong."""
    rows = sliced(duel_rows())
    both = named(rows, wrong=some(rows, 0.1))
    return beside_champion(rows, both, both, left_out=3)


def differing(delta: float | None, interval: tuple[float, float] | None = (-0.5, 0.5), **evidence: object) -> Comparison:
    """As `even`, with this difference and an interval around it."""
    seen = even().evidence.model_copy(update={"difference": delta, "interval": interval, **evidence})
    return even().model_copy(update={"macro_f1_delta": delta, "evidence": seen})


def flipping(negative: int, positive: int, *, windows: int = 1000) -> Comparison:
    """As `even`, with so many windows that only one of the two has right."""
    return even().model_copy(
        update={"windows": windows, "flips": Flips(windows=windows, negative={"Build": negative}, positive={"Write": positive})}
    )


def grouped(kind: str, *p_values: float | None) -> Comparison:
    """As `even`, with these Holm-adjusted p-values of users or of labels; None is one that is not judged."""
    groups = [
        GroupSignificance(
            name=f"{kind}-{i}",
            windows=100,
            user_days=9,
            difference=-0.3,
            standard_error=0.1,
            p_value=p,
            adjusted_p=p,
            judged=p is not None,
        )
        for i, p in enumerate(p_values)
    ]
    return even().model_copy(update={"evidence": even().evidence.model_copy(update={_FIELDS[kind]: groups})})


_FIELDS = {"user": "by_user", "class": "by_label"}


def anchored(**differences: float | None) -> list[AnchorComparison]:
    """Anchors by name, with what the challenger is better than each."""
    return [
        AnchorComparison(
            model_id=name, ran_at=AS_OF - DAY, windows=400, challenger_macro_f1=0.7, anchor_macro_f1=0.7, difference=each, detail="d"
        )
        for name, each in differences.items()
    ]


def judge_all(comparison: object, *, config: RetrainConfig | None = None, **given: object) -> RegressionResult:
    settings = (config or retrain_config()).comparison
    named = {"champion_state": "ok", "champion_reason": "named by the pointer"}
    usual = {**named, "anchors": [], "rolled_back_as": None, "history_damaged": False, "bootstrap": False}
    return check_regression_gates(comparison, **{**usual, **given}, settings=settings)  # type: ignore[arg-type]


def judge(name: str, comparison: object = None, **given: object) -> RegressionGate:
    """The verdict of one gate beside a champion that is as good, but for what is given."""
    gates = judge_all(even() if comparison is None else comparison, **given).gates
    return next(found for found in gates if found.name == name)


def statuses(result: RegressionResult) -> dict[str, Status]:
    return {gate.name: gate.status for gate in result.gates}


# --- All of them ------------------------------------------------------------------------------------------------------------------


def test_the_comparative_gates_have_these_names_in_this_order() -> None:
    assert COMPARATIVE_GATES == (
        "macro_f1_no_regression",
        "min_improvement",
        "not_worse_than_anchor",
        "no_user_clearly_worse",
        "no_class_clearly_worse",
        "no_slice_clearly_worse",
        "negative_flips",
        "not_rolled_back",
    )
    found = judge_all(even()).gates
    assert tuple(each.name for each in found) == COMPARATIVE_GATES
    assert {each.kind for each in found} == {"comparative"}


def test_an_equal_model_passes_every_gate_that_applies() -> None:
    assert statuses(judge_all(even())) == {
        **dict.fromkeys(COMPARATIVE_GATES, "PASS"),
        **dict.fromkeys(("min_improvement", "not_worse_than_anchor", "no_slice_clearly_worse"), "NOT_APPLICABLE"),
    }
    assert judge_all(even()).all_passed


def test_a_better_model_passes_every_gate_when_all_of_them_apply() -> None:
    rows = sliced(duel_rows())
    better = beside_champion(rows, named(rows), named(rows, wrong=some(rows, 0.1)))
    found = judge_all(better, anchors=anchored(a=0.0), config=retrain_config(min_improvement=0.09, slice_gate=True))
    assert statuses(found) == dict.fromkeys(COMPARATIVE_GATES, "PASS")


def test_a_comparison_that_raises_is_an_error_of_every_gate_on_it() -> None:
    found = judge_all(Raising(), anchors=anchored(a=0.0), config=retrain_config(min_improvement=0.01, slice_gate=True))
    fine = ("not_worse_than_anchor", "not_rolled_back")
    assert statuses(found) == {**dict.fromkeys(COMPARATIVE_GATES, "ERROR"), **dict.fromkeys(fine, "PASS")}
    assert all("ZeroDivisionError" in gate.detail for gate in found.gates if gate.status == "ERROR")


@pytest.mark.parametrize("value", [0.5, NAN, float("inf")])
def test_whatever_the_figures_the_gates_can_be_kept_as_json(value: float) -> None:
    found = judge_all(differing(value), anchors=anchored(a=value), config=retrain_config(min_improvement=0.01))
    assert RegressionResult.model_validate_json(canonical_json(found.model_dump(mode="json"))) == found


# --- Where there is nothing to compare with -----------------------------------------------------------------------------------------


def test_without_a_champion_all_but_rollbacks_do_not_apply_and_the_words_say_what_decides() -> None:
    found = judge_all(None, champion_state="none", champion_reason="no model was ever promoted")
    assert statuses(found) == {**dict.fromkeys(COMPARATIVE_GATES, "NOT_APPLICABLE"), "not_rolled_back": "PASS"}
    for gate in found.gates:
        if gate.name in ON_WINDOWS:
            assert (gate.observed, gate.overridden) == (None, False)


@pytest.mark.parametrize("state", ["unreadable", "incompatible"])
@pytest.mark.parametrize("name", ON_WINDOWS)
def test_a_champion_that_cannot_be_compared_with_is_inconclusive_and_the_words_name_reason_and_ways_out(name: str, state: str) -> None:
    found = judge_all(None, champion_state=state, champion_reason="invalid: model.txt").gates
    gate = next(each for each in found if each.name == name)
    assert (gate.status, gate.observed) == ("INCONCLUSIVE", None)
    assert all(part in gate.detail for part in (state, "invalid: model.txt", "force", "bootstrap"))


@pytest.mark.parametrize("state", ["unreadable", "incompatible"])
@pytest.mark.parametrize("name", ON_WINDOWS)
def test_bootstrap_overrides_a_champion_that_cannot_be_compared_with_and_says_so(name: str, state: str) -> None:
    found = judge_all(None, champion_state=state, champion_reason="invalid: model.txt", bootstrap=True).gates
    gate = next(each for each in found if each.name == name)
    assert (gate.status, gate.overridden) == ("NOT_APPLICABLE", True)
    assert all(part in gate.detail for part in (state, "invalid: model.txt"))


@pytest.mark.parametrize("name", ON_WINDOWS)
@pytest.mark.parametrize(("bootstrap", "status"), [(False, "INCONCLUSIVE"), (True, "NOT_APPLICABLE")])
def test_a_model_that_could_not_be_scored_is_inconclusive_unless_bootstrap_is_given(name: str, bootstrap: bool, status: Status) -> None:
    gate = next(each for each in judge_all(None, bootstrap=bootstrap).gates if each.name == name)
    assert (gate.status, gate.observed) == (status, None)
    assert "bootstrap" in gate.detail


@pytest.mark.parametrize("name", ON_WINDOWS)
def test_fewer_windows_than_the_smallest_number_hold_and_say_how_many_newer_ones_are_needed_from_when_on(name: str) -> None:
    few = even().model_copy(update={"windows": 299})
    gate = judge(name, few)
    assert (gate.status, gate.observed) == ("INCONCLUSIVE", None)
    assert all(part in gate.detail for part in ("299", "min_windows", "300", "1 more test window,", "2026-02-04", "bootstrap"))
    assert judge(name, few.model_copy(update={"windows": 300})).status == "PASS"


def test_too_few_windows_name_the_gates_that_fail_on_those_that_are_left_and_what_gives_more() -> None:
    few = flipping(31, 20, windows=299)
    named = judge("no_user_clearly_worse", few).detail
    assert "(on those that are left, negative_flips would fail)" in named
    assert "would fail" not in judge("no_user_clearly_worse", flipping(20, 20, windows=299)).detail
    assert "label more minutes, of which about every seventh" in named
    assert (
        "would be enough; label about 7 more minutes, or give"
        in judge("negative_flips", few, more_windows="label about 7 more minutes").detail
    )
    assert "bootstrap" not in judge("negative_flips", few, bootstrap_helps=False).detail


def test_newer_means_newer_than_the_later_training_of_the_two() -> None:
    later = even().exclusion.leakage[1].model_copy(update={"trained_until": datetime(2026, 2, 11, tzinfo=UTC)})
    for reports in ([later, even().exclusion.leakage[0]], [even().exclusion.leakage[0], later]):
        exclusion = even().exclusion.model_copy(update={"leakage": reports})
        few = even().model_copy(update={"windows": 120, "exclusion": exclusion})
        detail = judge("negative_flips", few).detail
        assert ("180" in detail, "2026-02-11" in detail) == (True, True)


@pytest.mark.parametrize("name", ON_WINDOWS)
def test_bootstrap_overrides_too_few_windows_and_says_so(name: str) -> None:
    gate = judge(name, even().model_copy(update={"windows": 0}), bootstrap=True)
    assert (gate.status, gate.overridden) == ("NOT_APPLICABLE", True)


@pytest.mark.parametrize("name", ON_WINDOWS)
def test_windows_without_a_label_that_can_be_judged_are_inconclusive_and_told(name: str) -> None:
    gate = judge(name, differing(None))
    assert (gate.status, gate.observed) == ("INCONCLUSIVE", None)
    assert ("400" in gate.detail, "(3 " in gate.detail) == (True, True)


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        ("macro_f1_no_regression", differing(-0.5)),
        ("no_user_clearly_worse", grouped("user", 0.001)),
        ("no_class_clearly_worse", grouped("class", 0.001)),
        ("negative_flips", flipping(300, 0)),
    ],
)
def test_bootstrap_does_not_excuse_from_a_champion_that_can_be_compared_with(name: str, worse: Comparison) -> None:
    assert judge(name, worse, bootstrap=True).status == "FAIL"


# --- No regression: the difference itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "status"),
    [(-0.02, "PASS"), (-0.02 - 1e-9, "FAIL"), (-0.5, "FAIL"), (0.0, "PASS"), (0.5, "PASS"), (NAN, "ERROR"), (float("inf"), "ERROR")],
)
def test_a_challenger_may_be_below_the_champion_by_the_tolerance(delta: float, status: Status) -> None:
    found = judge("macro_f1_no_regression", differing(delta))
    assert (found.status, found.threshold) == (status, -0.02)
    assert found.observed == (delta if status in ("PASS", "FAIL") else None)


def test_the_noise_of_binary_fractions_does_not_count_as_a_regression() -> None:
    assert 0.70 - 0.72 < -0.02  # by 1.8e-17
    assert judge("macro_f1_no_regression", differing(0.70 - 0.72)).status == "PASS"
    assert judge("macro_f1_no_regression", differing(0.6999 - 0.72)).status == "FAIL"


def test_the_tolerance_comes_from_the_settings() -> None:
    for tolerance, status in [(0.0, "FAIL"), (0.05, "PASS"), (0.049, "FAIL")]:
        found = judge("macro_f1_no_regression", differing(-0.05), config=retrain_config(regression_tolerance=tolerance))
        assert (found.status, found.threshold) == (status, -tolerance)


@pytest.mark.parametrize("evidence", [{"interval": (-0.9, 0.9)}, {"interval": None}, {"user_days": 1}])
def test_the_point_policy_needs_no_interval_and_no_number_of_user_days(evidence: dict[str, object]) -> None:
    assert judge("macro_f1_no_regression", differing(-0.01, **evidence)).status == "PASS"  # type: ignore[arg-type]
    assert judge("macro_f1_no_regression", differing(-0.03, **evidence)).status == "FAIL"  # type: ignore[arg-type]


# --- No regression: the interval ------------------------------------------------------------------------------------------------------

INTERVALS: dict[str, tuple[float, list[tuple[float, float, Status]]]] = {
    # policy: the bound, and what follows from the ends of an interval
    "hold": (
        -0.02,
        [
            (-0.02 + 1e-9, 0.4, "PASS"),
            (0.1, 0.2, "PASS"),
            (-0.02, 0.4, "INCONCLUSIVE"),
            (-0.02 - 1e-9, 0.4, "INCONCLUSIVE"),
            (-0.4, -0.02 + 1e-9, "INCONCLUSIVE"),
            (-0.4, -0.02, "FAIL"),
            (-0.4, -0.02 - 1e-9, "FAIL"),
            (-0.4, -0.3, "FAIL"),
        ],
    ),
    "superior": (
        0.0,
        [
            (1e-9, 0.4, "PASS"),
            (0.0, 0.4, "INCONCLUSIVE"),
            (-1e-9, 0.4, "INCONCLUSIVE"),
            (-0.01, 1e-9, "INCONCLUSIVE"),
            (-0.4, 0.0, "FAIL"),
            (0.0, 0.0, "FAIL"),
            (-0.4, -1e-9, "FAIL"),
        ],
    ),
}


@pytest.mark.parametrize(("policy", "low", "high", "status"), [(name, *case) for name, (_, cases) in INTERVALS.items() for case in cases])
def test_by_the_other_policies_the_whole_interval_decides(policy: str, low: float, high: float, status: Status) -> None:
    found = judge("macro_f1_no_regression", differing((low + high) / 2, (low, high)), config=retrain_config(evidence_policy=policy))
    assert (found.status, found.threshold) == (status, INTERVALS[policy][0])
    assert found.observed == (None if status == "INCONCLUSIVE" else low)


def test_a_difference_that_satisfies_the_point_policy_does_not_satisfy_the_others() -> None:
    wide = differing(0.05, (-0.1, 0.2))
    found = {name: judge("macro_f1_no_regression", wide, config=retrain_config(evidence_policy=name)) for name in ("point", *INTERVALS)}
    assert {name: gate.status for name, gate in found.items()} == {"point": "PASS", "hold": "INCONCLUSIVE", "superior": "INCONCLUSIVE"}


def test_an_interval_on_both_sides_says_what_it_is_and_how_many_user_days_would_tell() -> None:
    strict = retrain_config(evidence_policy="hold")
    gate = judge("macro_f1_no_regression", differing(0.05, (-0.1, 0.2), user_days_needed=65), config=strict)
    assert all(part in gate.detail for part in ("+0.0500", "-0.1000", "+0.2000", "-0.02", "65"))
    unknown = judge("macro_f1_no_regression", differing(0.05, (-0.1, 0.2), user_days_needed=None), config=strict)
    assert gate.detail.startswith(unknown.detail)
    assert "0.05 " not in unknown.detail


@pytest.mark.parametrize("policy", INTERVALS)
def test_an_interval_on_one_side_has_its_ends_in_the_detail(policy: str) -> None:
    config = retrain_config(evidence_policy=policy)
    above, below = (judge("macro_f1_no_regression", differing(x, (x - 0.1, x + 0.1)), config=config).detail for x in (0.2, -0.3))
    bound = {"hold": "-0.02", "superior": "0"}[policy]
    assert all(part in above for part in ("+0.2000", "+0.1000", "+0.3000", bound))
    assert all(part in below for part in ("-0.3000", "-0.4000", "-0.2000", bound))


@pytest.mark.parametrize("policy", INTERVALS)
@pytest.mark.parametrize(("user_days", "status"), [(4, "INCONCLUSIVE"), (5, "PASS"), (6, "PASS")])
def test_an_interval_over_too_few_user_days_decides_nothing_and_says_how_many_there_are(
    policy: str, user_days: int, status: Status
) -> None:
    clear = differing(0.4, (0.3, 0.5), user_days=user_days)
    gate = judge("macro_f1_no_regression", clear, config=retrain_config(evidence_policy=policy))
    assert gate.status == status
    if status == "INCONCLUSIVE":
        assert all(part in gate.detail for part in ("4", "min_user_days", "5"))
    assert judge("macro_f1_no_regression", clear, config=retrain_config(evidence_policy=policy, min_user_days=7)).status == "INCONCLUSIVE"


@pytest.mark.parametrize("policy", INTERVALS)
@pytest.mark.parametrize("interval", [None, (NAN, NAN)])
def test_without_an_interval_the_other_policies_decide_nothing(policy: str, interval: tuple[float, float] | None) -> None:
    found = judge("macro_f1_no_regression", differing(0.4, interval), config=retrain_config(evidence_policy=policy))
    assert found.status == "INCONCLUSIVE"
    assert found.observed is None


def test_the_confidence_in_the_words_is_that_of_the_interval() -> None:
    config = retrain_config(evidence_policy="hold", significance=0.1)
    rows = duel_rows()
    found = beside_champion(rows, named(rows), named(rows, wrong=some(rows, 0.1)), config=config)
    assert "90% interval" in judge("macro_f1_no_regression", found, config=config).detail


# --- Improvement ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "status"), [(0.01, "PASS"), (0.01 - 1e-9, "FAIL"), (0.0, "FAIL"), (-0.5, "FAIL"), (0.5, "PASS"), (NAN, "ERROR")]
)
def test_an_improvement_that_is_asked_for_must_be_reached(delta: float, status: Status) -> None:
    found = judge("min_improvement", differing(delta), config=retrain_config(min_improvement=0.01))
    assert (found.status, found.threshold) == (status, 0.01)


@pytest.mark.parametrize("comparison", [differing(-0.5), differing(0.5), differing(None), Raising()])
def test_an_improvement_that_is_not_asked_for_does_not_apply(comparison: object) -> None:
    found = judge("min_improvement", comparison, config=retrain_config(min_improvement=0.0))
    assert (found.status, found.observed) == ("NOT_APPLICABLE", None)


@pytest.mark.parametrize(("state", "bootstrap", "status"), [("ok", False, "INCONCLUSIVE"), ("unreadable", True, "NOT_APPLICABLE")])
def test_an_improvement_that_is_asked_for_but_cannot_be_measured_is_no_pass(state: str, bootstrap: bool, status: Status) -> None:
    config = retrain_config(min_improvement=0.01)
    found = judge_all(None, champion_state=state, champion_reason="r", bootstrap=bootstrap, config=config).gates
    assert next(gate.status for gate in found if gate.name == "min_improvement") == status


# --- Anchors --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difference", "status"), [(-0.04, "PASS"), (-0.04 - 1e-9, "FAIL"), (-0.04 + 1e-9, "PASS"), (0.3, "PASS"), (NAN, "ERROR")]
)
def test_a_challenger_may_be_below_an_anchor_by_twice_the_regression_tolerance(difference: float, status: Status) -> None:
    found = judge("not_worse_than_anchor", anchors=anchored(a=difference))
    assert (found.status, found.threshold) == (status, -0.04)
    assert judge("not_worse_than_anchor", anchors=anchored(a=-0.06), config=retrain_config(regression_tolerance=0.03)).status == "PASS"
    assert judge("not_worse_than_anchor", anchors=anchored(a=-0.06), config=retrain_config(regression_tolerance=0.029)).status == "FAIL"


@pytest.mark.parametrize(("tolerance", "status"), [(0.1, "PASS"), (0.1 - 1e-9, "FAIL"), (0.0, "FAIL"), (1.0, "PASS"), (None, "FAIL")])
def test_an_anchor_tolerance_of_its_own_replaces_that_of_the_regression(tolerance: float | None, status: Status) -> None:
    found = judge("not_worse_than_anchor", anchors=anchored(a=-0.1), config=retrain_config(anchor_tolerance=tolerance))
    assert found.status == status
    assert found.threshold == -(0.04 if tolerance is None else tolerance)


def test_the_best_anchor_decides_and_is_named() -> None:
    found = judge("not_worse_than_anchor", anchors=anchored(a=0.2, b=-0.05, c=-0.01))
    assert (found.status, found.observed) == ("FAIL", -0.05)
    assert found.detail == "beside b: -0.0500 < -0.04"


@pytest.mark.parametrize("differences", [{"a": NAN, "b": 0.1}, {"b": 0.1, "a": NAN}], ids=["first", "last"])
def test_an_anchor_that_is_not_a_number_is_an_error_wherever_it_stands(differences: dict[str, float]) -> None:
    assert judge("not_worse_than_anchor", anchors=anchored(**differences)).status == "ERROR"


def test_without_anchors_that_can_be_compared_with_the_gate_does_not_apply_and_says_which_it_is() -> None:
    nothing = judge("not_worse_than_anchor", anchors=[])
    undecided = judge("not_worse_than_anchor", anchors=anchored(a=None, b=None))
    assert (nothing.status, undecided.status) == ("NOT_APPLICABLE", "NOT_APPLICABLE")
    assert ("2" in nothing.detail, "2" in undecided.detail) == (False, True)
    assert judge("not_worse_than_anchor", anchors=anchored(a=None, b=-0.5)).status == "FAIL"


@pytest.mark.parametrize("state", ["none", "unreadable"])
def test_anchors_count_even_without_a_champion_and_with_bootstrap(state: str) -> None:
    found = judge_all(None, champion_state=state, champion_reason="r", anchors=anchored(a=-0.5), bootstrap=True)
    assert statuses(found)["not_worse_than_anchor"] == "FAIL"


def test_anchors_that_raise_are_an_error() -> None:
    assert judge("not_worse_than_anchor", anchors=[Raising()]).status == "ERROR"


def _eleven_tolerated_steps(config: RetrainConfig, *, every: timedelta) -> list[tuple[datetime, float]]:
    """Again and again a challenger is 0.0199 worse than what runs, and it runs if the gates pass: when and how good each that did."""
    ran, entries = [("first", AS_OF, 0.72)], [_came_to_run("first", AS_OF)]
    for step in range(1, 12):
        now, score = AS_OF + step * every, ran[-1][2] - 0.0199
        history = History(entries=entries, problems={}, whole=b"", torn=b"", digest="", lines=0)
        scores = {name: before for name, _, before in ran}
        anchors = anchored(**{name: score - scores[name] for name, _ in find_anchors(history, as_of=now)})
        found = judge_all(differing(score - ran[-1][2]), anchors=anchors, config=config)
        assert statuses(found)["macro_f1_no_regression"] == "PASS"  # one step alone is always tolerated
        if found.all_passed:
            ran.append((f"step-{step}", now, score))
            entries.append(_came_to_run(f"step-{step}", now))
    return [(at, score) for _, at, score in ran]


def _came_to_run(name: str, at: datetime) -> ActiveHistoryEntry:
    return ActiveHistoryEntry(at=at, old=None, new=ActivePointer(model_dir=f"models/{name}", selected_at=at, policy_version=1))


def test_a_slow_decline_in_eleven_tolerated_steps_is_stopped_at_the_second() -> None:
    unguarded = _eleven_tolerated_steps(retrain_config(anchor_tolerance=1.0), every=DAY)
    assert (len(unguarded) - 1, unguarded[-1][1]) == (11, pytest.approx(0.72 - 11 * 0.0199))  # 0.72 to 0.50 with every gate green
    guarded = _eleven_tolerated_steps(retrain_config(), every=DAY)
    assert (len(guarded) - 1, guarded[-1][1]) == (2, pytest.approx(0.72 - 2 * 0.0199))


def test_with_a_week_between_the_steps_nothing_runs_that_is_far_below_what_came_to_run_within_60_days() -> None:
    ran = _eleven_tolerated_steps(retrain_config(), every=7 * DAY)
    for at, score in ran:
        assert score >= max(before for earlier, before in ran if at - 60 * DAY <= earlier <= at) - 0.04
    assert len(ran) - 1 < 11  # slowed down, not stopped: the best of the anchors leaves after 60 days


# --- Users and labels -----------------------------------------------------------------------------------------------------------------

KINDS = {"user": "no_user_clearly_worse", "class": "no_class_clearly_worse"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("p", "status"), [(0.05, "PASS"), (0.05 - 1e-9, "FAIL"), (0.0, "FAIL"), (1.0, "PASS"), (NAN, "ERROR")])
def test_a_user_or_label_fails_below_the_significance_and_not_at_it(kind: str, p: float, status: Status) -> None:
    found = judge(KINDS[kind], grouped(kind, p))
    assert (found.status, found.threshold) == (status, 0.05)
    assert found.observed == (p if status in ("PASS", "FAIL") else None)


@pytest.mark.parametrize("kind", KINDS)
def test_the_significance_of_users_and_labels_comes_from_the_settings(kind: str) -> None:
    for significance, status in [(0.03, "PASS"), (0.0301, "FAIL")]:
        found = judge(KINDS[kind], grouped(kind, 0.03), config=retrain_config(significance=significance))
        assert (found.status, found.threshold) == (status, significance)


@pytest.mark.parametrize("kind", KINDS)
def test_the_worst_of_the_judged_decides_and_is_named_with_its_figures(kind: str) -> None:
    found = judge(KINDS[kind], grouped(kind, 0.9, 0.01, None, 0.02))
    assert (found.status, found.observed) == ("FAIL", 0.01)
    assert all(
        part in found.detail for part in (f"{kind}-1 ", "-0.3000", "p 0.01,", "0.05", f"3 {'users' if kind == 'user' else 'labels'} judged")
    )


@pytest.mark.parametrize("kind", KINDS)
def test_of_one_who_improved_the_words_state_the_direction_the_claim_that_is_tested_and_what_the_number_is(kind: str) -> None:
    groups = [group.model_copy(update={"difference": 0.03}) for group in getattr(grouped(kind, 0.995).evidence, _FIELDS[kind])]
    improved = even().model_copy(update={"evidence": even().evidence.model_copy(update={_FIELDS[kind]: groups})})
    what = "user" if kind == "user" else "label"
    assert judge(KINDS[kind], improved).detail == (
        f"{kind}-0 has changed by +0.0300: a decline of more than 0.05 is not shown "
        f"(Holm-adjusted p 0.995, below 0.05 it would be; 1 {what} judged)"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p_values", [(NAN, 0.9), (0.9, NAN)], ids=["first", "last"])
def test_a_p_value_that_is_not_a_number_is_an_error_wherever_it_stands(kind: str, p_values: tuple[float, float]) -> None:
    assert judge(KINDS[kind], grouped(kind, *p_values)).status == "ERROR"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p_values", [(), (None, None)])
def test_where_nobody_has_enough_user_days_the_gate_does_not_apply(kind: str, p_values: tuple[float | None, ...]) -> None:
    found = judge(KINDS[kind], grouped(kind, *p_values))
    assert (found.status, found.observed) == ("NOT_APPLICABLE", None)
    assert "5" in found.detail


# --- Flips ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("negative", "positive", "status"),
    [
        (30, 20, "PASS"),  # one point more than became right
        (31, 20, "FAIL"),
        (10, 0, "PASS"),
        (11, 0, "FAIL"),
        (500, 490, "PASS"),
        (500, 489, "FAIL"),
        (0, 0, "PASS"),
        (1000, 0, "FAIL"),
    ],
)
def test_hardly_more_windows_may_become_wrong_than_become_right(negative: int, positive: int, status: Status) -> None:
    found = judge("negative_flips", flipping(negative, positive))
    assert (found.status, found.observed) == (status, negative / 1000)
    assert found.threshold == pytest.approx(positive / 1000 + 0.01)
    assert all(f"{count / 10:.2f}%" in found.detail for count in (negative, positive))


def test_one_window_more_than_allowed_of_many_fails() -> None:
    assert judge("negative_flips", flipping(30_000, 20_000, windows=1_000_000)).status == "PASS"
    assert judge("negative_flips", flipping(30_001, 20_000, windows=1_000_000)).status == "FAIL"


def test_shares_of_flips_that_differ_are_not_shown_as_equal() -> None:
    assert judge("negative_flips", flipping(30_001, 20_000, windows=1_000_000)).detail.startswith("3.0001% became wrong")


def test_a_clear_improvement_may_change_many_windows_and_a_worse_model_may_not() -> None:
    improved = judge("negative_flips", flipping(629, 1637, windows=10_000))
    assert (improved.status, improved.observed, improved.threshold) == ("PASS", 0.0629, pytest.approx(0.1737))
    assert improved.detail == "6.29% became wrong, 16.37% became right; at most 17.37% may become wrong"
    assert judge("negative_flips", flipping(1637, 629, windows=10_000)).status == "FAIL"
    rows = duel_rows()
    worse = beside_champion(rows, named(rows, wrong=some(rows, 0.78)), named(rows, wrong=some(rows, 0.68)))
    assert judge("negative_flips", worse).status == "FAIL"


def test_a_cap_holds_however_many_windows_became_right() -> None:
    capped = retrain_config(max_negative_flips=0.05)
    for negative, positive, status in [(50, 50, "PASS"), (51, 51, "FAIL"), (49, 500, "PASS"), (51, 500, "FAIL"), (50, 39, "FAIL")]:
        found = judge("negative_flips", flipping(negative, positive), config=capped)
        assert (found.status, found.threshold) == (status, pytest.approx(min(0.05, positive / 1000 + 0.01)))
    assert "at most 5.00% may become wrong" in judge("negative_flips", flipping(51, 500), config=capped).detail


def test_both_limits_of_flips_come_from_the_settings() -> None:
    for share, status in [(0.08, "PASS"), (0.0799, "FAIL")]:
        assert judge("negative_flips", flipping(80, 80), config=retrain_config(max_negative_flips=share)).status == status
    for excess, status in [(0.03, "PASS"), (0.0299, "FAIL")]:
        assert judge("negative_flips", flipping(40, 10), config=retrain_config(max_flip_excess=excess)).status == status


# --- Rollbacks ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["ok", "none", "unreadable"])
@pytest.mark.parametrize("bootstrap", [True, False])
def test_trees_that_a_rollback_left_fail_whatever_the_champion_and_the_words_say_how_to_allow_them(state: str, bootstrap: bool) -> None:
    found = judge("not_rolled_back", rolled_back_as=OLD, champion_state=state, bootstrap=bootstrap)
    assert (found.status, found.observed, found.threshold) == ("FAIL", 0.0, 1.0)
    assert f"unblock {OLD}" in found.detail


@pytest.mark.parametrize("state", ["ok", "none", "unreadable"])
def test_trees_that_nobody_rolled_back_pass(state: str) -> None:
    found = judge("not_rolled_back", rolled_back_as=None, champion_state=state)
    assert (found.status, found.observed, found.threshold) == ("PASS", 1.0, 1.0)


# --- A damaged history ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bootstrap", [True, False])
@pytest.mark.parametrize(
    ("given", "anchor", "rollback"),
    [
        ({"anchors": []}, "INCONCLUSIVE", "INCONCLUSIVE"),
        ({"anchors": anchored(a=0.2)}, "INCONCLUSIVE", "INCONCLUSIVE"),
        ({"anchors": anchored(a=-0.2)}, "FAIL", "INCONCLUSIVE"),
        ({"anchors": anchored(a=NAN)}, "ERROR", "INCONCLUSIVE"),
        ({"anchors": [], "rolled_back_as": OLD}, "INCONCLUSIVE", "FAIL"),
    ],
    ids=["no anchor", "better than the anchor", "worse than the anchor", "no number", "rolled back"],
)
def test_with_a_damaged_history_only_a_failure_beside_its_models_counts(
    given: dict[str, object], anchor: str, rollback: str, bootstrap: bool
) -> None:
    gates = [judge(name, history_damaged=True, bootstrap=bootstrap, **given) for name in ("not_worse_than_anchor", "not_rolled_back")]
    assert [gate.status for gate in gates] == [anchor, rollback]


# --- Wording --------------------------------------------------------------------------------------------------------------------------


def test_the_wording_of_the_details(snapshot: SnapshotAssertion) -> None:
    strict, regression = retrain_config(evidence_policy="hold"), "macro_f1_no_regression"
    broken = {"champion_state": "unreadable", "champion_reason": "invalid: missing model.txt"}
    few = even().model_copy(update={"windows": 299})

    def alone(**given: object) -> RegressionGate:
        return next(each for each in judge_all(None, **given).gates if each.name == regression)

    found = {
        "no champion": alone(champion_state="none", champion_reason="no model was ever promoted"),
        "a broken champion": alone(**broken),
        "a broken champion, bootstrap": alone(**broken, bootstrap=True),
        "not scored": alone(),
        "few windows": judge(regression, few),
        "few windows, bootstrap": judge(regression, few, bootstrap=True),
        "no label judged": judge(regression, differing(None)),
        "worse": judge(regression, differing(-0.5)),
        "an interval on both sides": judge(regression, differing(0.05, (-0.1, 0.2), user_days_needed=65), config=strict),
        "an interval above": judge(regression, differing(0.2, (0.1, 0.3)), config=strict),
        "an interval below": judge(regression, differing(-0.3, (-0.4, -0.2)), config=strict),
        "few user-days": judge(regression, differing(0.4, (0.3, 0.5), user_days=4), config=strict),
        "worse than an anchor": judge("not_worse_than_anchor", anchors=anchored(a=-0.2, b=-0.05)),
        "no anchor": judge("not_worse_than_anchor", anchors=[]),
        "no anchor judged": judge("not_worse_than_anchor", anchors=anchored(a=None, b=None)),
        "worse for a user": judge(KINDS["user"], grouped("user", 0.9, 0.01)),
        "no user judged": judge(KINDS["user"], grouped("user")),
        "no label with user-days": judge(KINDS["class"], grouped("class")),
        "flips": judge("negative_flips", flipping(51, 20)),
        "rolled back": judge("not_rolled_back", rolled_back_as=OLD),
        "a damaged history": judge("not_rolled_back", history_damaged=True),
    }
    assert {name: f"{gate.status}: {gate.detail}" for name, gate in found.items()} == snapshot


# --- Numbers from windows -------------------------------------------------------------------------------------------------------------


def _worst(groups: Sequence[GroupSignificance]) -> GroupSignificance:
    return min(groups, key=lambda group: group.adjusted_p or 0.0)


def test_each_gate_shows_the_figure_that_the_windows_give() -> None:
    rows = duel_rows()
    found = beside_champion(rows, named(rows, wrong=some(rows, 0.04)), named(rows, wrong=some(rows, 0.1, after=0.5)))
    gates = {gate.name: gate for gate in judge_all(found, config=retrain_config(min_improvement=0.01)).gates}
    assert gates["macro_f1_no_regression"].observed == pytest.approx(0.06)
    assert gates["min_improvement"].observed == pytest.approx(0.06)
    assert gates["negative_flips"].observed == 0.04
    assert gates["negative_flips"].threshold == pytest.approx(0.11)
    assert gates["no_user_clearly_worse"].observed == _worst(found.evidence.by_user).adjusted_p
    assert gates["no_class_clearly_worse"].observed == _worst(found.evidence.by_label).adjusted_p
    assert {found.challenger_id, found.champion_id} == {NEW, MID}


def test_a_rolled_back_anchor_is_none_even_where_it_was_the_best() -> None:
    entries = [_came_to_run("worse", AS_OF - timedelta(days=9)), _came_to_run("better", AS_OF - timedelta(days=2))]
    blocks = {"model_id": "better", "tree_hash": "1" * 64}
    back = ActiveHistoryEntry.model_validate({**dict(_came_to_run("worse", AS_OF - DAY)), "action": "rollback", "blocks": blocks})
    history = History(entries=[*entries, back], problems={}, whole=b"", torn=b"", digest="", lines=0)
    assert [name for name, _ in find_anchors(history, as_of=AS_OF)] == ["worse"]
