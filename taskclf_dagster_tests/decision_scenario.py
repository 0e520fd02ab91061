"""Candidates that are perfect but for one thing, and the decisions about them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import NoReturn

import numpy as np

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.candidate_gates import check_candidate_gates
from taskclf_dagster.domain.decision.comparative_gates import check_regression_gates
from taskclf_dagster.domain.decision.decision import DecisionContent, PromotionDecision, seal
from taskclf_dagster.domain.decision.floors import judge_floors
from taskclf_dagster.domain.decision.gate import RegressionGate, Status
from taskclf_dagster.domain.decision.references import ChampionState
from taskclf_dagster.domain.decision.verdict import decide
from taskclf_dagster.domain.evaluation.baselines import BaselineScore
from taskclf_dagster.domain.evaluation.comparison import AnchorComparison, Comparison, complete_again, derive_seed
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport, UserScore
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff
from taskclf_dagster.domain.models.reproducibility import Reproduction
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import (
    MID,
    NEW,
    OLD,
    a_decision,
    a_report,
    a_reproduction,
    beside_champion,
    class_score,
    duel_rows,
    model_ref,
    named,
    sliced,
    some,
    with_changes,
)
from taskclf_dagster_tests.scenario import AS_OF, DAY, retrain_config

NAN = float("nan")


class Raising:
    """Fails whatever figure it is asked for."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ZeroDivisionError(name)


@cache
def better() -> Comparison:
    """A challenger with 96 % right beside a champion with 94 %, who have other windows wrong."""
    rows = duel_rows()
    rows = sliced(rows, category=np.where(rows.index % 2, "browser", "editor"))
    return beside_champion(rows, named(rows, wrong=some(rows, 0.04)), named(rows, wrong=some(rows, 0.06, after=0.5)))


def anchor(difference: float | None, model_id: str = OLD) -> AnchorComparison:
    ours = 0.9
    return AnchorComparison(
        model_id=model_id,
        ran_at=AS_OF - DAY,
        windows=400,
        challenger_macro_f1=ours,
        anchor_macro_f1=None if difference is None else ours - difference,
        difference=None if difference is None else ours - (ours - difference),
        detail="d",
    )


def scored(**figures: object) -> EvaluationReport:
    """A report that passes every gate, those of held-out users too."""
    unseen = UserScore(windows=100, macro_f1=0.9, reject_rate=0.1, unseen=True)
    return a_report(**{"per_user": {"user-9": unseen}, "seen_user_f1": 0.9, "unseen_user_f1": 0.9, **figures})


@dataclass(frozen=True)
class Candidate:
    """The evidence on a challenger: all of it in its favour, and every gate applies, but for what a test changes."""

    report: object = field(default_factory=scored)
    failure: str | None = None
    rule: object = BaselineScore(windows=100, model=0.9, baseline=0.4)
    lookup: object = BaselineScore(windows=100, model=0.9, baseline=0.4)
    reproduction: Reproduction | Raising | None = field(default_factory=a_reproduction)
    comparison: object = field(default_factory=better)
    state: ChampionState = "ok"
    anchors: tuple[object, ...] = field(default_factory=lambda: (anchor(0.01),))
    rolled_back_as: str | None = None
    history_damaged: bool = False
    bootstrap: bool = False
    config: RetrainConfig = field(default_factory=lambda: retrain_config(min_improvement=0.01, slice_gate=True, auto_promote=True))

    @property
    def gates(self) -> list[RegressionGate]:
        alone = {"failure": self.failure, "rule": self.rule, "lookup": self.lookup, "reproduction": self.reproduction}
        beside = {"anchors": self.anchors, "rolled_back_as": self.rolled_back_as, "bootstrap": self.bootstrap}
        candidate = check_candidate_gates(self.report, **alone, settings=self.config.evaluation)  # type: ignore[arg-type]
        comparative = check_regression_gates(
            self.comparison,  # type: ignore[arg-type]
            champion_state=self.state,
            champion_reason="named by the pointer",
            history_damaged=self.history_damaged,
            **beside,  # type: ignore[arg-type]
            settings=self.config.comparison,
        )
        sums = getattr(self.comparison, "sums", None) if self.config.evaluation.floor_policy == "improve" else None
        floors = judge_floors(candidate.gates, sums, held_out=[], config=self.config)
        return [*floors, *comparative.gates]

    @property
    def statuses(self) -> dict[str, Status]:
        return {each.name: each.status for each in self.gates}


def rare_label_lost() -> Comparison:
    """Meetings are rare and on four user-days only, and the challenger takes a third of them for reading."""
    rows = duel_rows({"ann": 20, "bob": 20})
    day = rows["bucket_start_ts"].dt.day
    rows = rows[
        (rows["label"] != "Meet") | ((day <= day.min() + 1) & (rows.groupby(["user_id", day, "label"], observed=True).cumcount() < 8))
    ]
    rows = rows.reset_index(drop=True)
    return beside_champion(rows, named(rows, wrong=some(rows, 0.3, among=rows["label"] == "Meet")), named(rows))


def user_lost() -> Comparison:
    """A tenth of the windows is ann's, and the challenger has 38 % of them wrong; for bob it is better."""
    rows = duel_rows({"ann": 2, "bob": 18})
    ann, bob = rows["user_id"] == "ann", rows["user_id"] == "bob"
    return beside_champion(rows, named(rows, wrong=some(rows, 0.38, among=ann)), named(rows, wrong=some(rows, 0.035, among=bob)))


def label_lost() -> Comparison:
    """The challenger takes a quarter of the meetings for reading, and is better at everything else."""
    rows = duel_rows({"ann": 10, "bob": 10})
    meet = rows["label"] == "Meet"
    return beside_champion(rows, named(rows, wrong=some(rows, 0.25, among=meet)), named(rows, wrong=some(rows, 0.03, among=~meet)))


def slice_lost(share: float = 0.2) -> Comparison:
    """A quarter of the windows, of every label, is in a terminal; the challenger has a share of them wrong, and is better elsewhere."""
    rows = duel_rows({"ann": 20, "bob": 20})
    terminal = rows.index.to_series() % 4 == 0
    rows = sliced(rows, category=np.where(terminal, "terminal", "browser"))
    return beside_champion(rows, named(rows, wrong=some(rows, share, among=terminal)), named(rows, wrong=some(rows, 0.06, among=~terminal)))


def others_wrong() -> Comparison:
    """Less than the tolerance below the champion, with 5.5 % of other windows wrong where the champion has 4 %."""
    rows = duel_rows()
    return beside_champion(rows, named(rows, wrong=some(rows, 0.055)), named(rows, wrong=some(rows, 0.04, after=0.5)))


SHIPPED = retrain_config(auto_promote=True)

SLICED = retrain_config(slice_gate=True, auto_promote=True)

WORSE = BaselineScore(windows=100, model=0.4, baseline=0.9)

ONLY: dict[str, Callable[[], Candidate]] = {
    # gate: a candidate that is perfect but for what this gate looks at
    "loads_and_predicts": lambda: Candidate(failure="model.txt is gone"),
    "macro_f1": lambda: Candidate(report=scored(macro_f1=0.64)),
    "weighted_f1": lambda: Candidate(report=scored(weighted_f1=0.69)),
    "breakidle_precision": lambda: Candidate(report=scored(classes={"BreakIdle": class_score(precision=0.94)})),
    "breakidle_recall": lambda: Candidate(report=scored(classes={"BreakIdle": class_score(recall=0.89)})),
    "no_class_below_50_precision": lambda: Candidate(report=scored(classes={"Meet": class_score(precision=0.49)})),
    "reject_rate_bounds": lambda: Candidate(report=scored(reject_rate=0.31)),
    "seen_user_f1": lambda: Candidate(report=scored(seen_user_f1=0.69)),
    "unseen_user_f1": lambda: Candidate(report=scored(unseen_user_f1=0.59)),
    "beats_rule_baseline": lambda: Candidate(rule=WORSE),
    "beats_lookup_baseline": lambda: Candidate(lookup=WORSE),
    "reproducible": lambda: Candidate(reproduction=a_reproduction(same=False)),
    "macro_f1_no_regression": lambda: Candidate(comparison=rare_label_lost(), config=SHIPPED),
    "min_improvement": lambda: Candidate(config=retrain_config(min_improvement=0.03, auto_promote=True)),
    "not_worse_than_anchor": lambda: Candidate(anchors=(anchor(0.01), anchor(-0.05, MID))),
    "no_user_clearly_worse": lambda: Candidate(comparison=user_lost(), config=SHIPPED),
    "no_class_clearly_worse": lambda: Candidate(comparison=label_lost(), config=SHIPPED),
    "no_slice_clearly_worse": lambda: Candidate(comparison=slice_lost(), config=SLICED),
    "negative_flips": lambda: Candidate(comparison=others_wrong(), config=SHIPPED),
    "not_rolled_back": lambda: Candidate(rolled_back_as=OLD),
}


FILES = ({"model.txt": "1" * 64}, {"model.txt": "2" * 64})
"""Hashes of challenger and champion."""


def receipt(home: Home, candidate: Candidate | None = None, **changes: object) -> PromotionDecision:
    """The decision about a candidate compared with a champion, with every optional field filled and every number where it comes from."""
    made = candidate or Candidate()
    content = with_changes(
        a_decision(home),
        challenger=model_ref(NEW, FILES[0]),
        champion_model=model_ref(MID, FILES[1], report_hash="3" * 64, macro_f1=0.7018, weighted_f1=None),
        champion_source="pointer",
        champion_state=made.state,
        champion_reason="named by the pointer",
        champion_model_dir=f"models/{MID}",
        champion_warnings=["a warning"],
        comparison=made.comparison,
        anchors=list(made.anchors),
        rolled_back_as=made.rolled_back_as,
        bootstrap=made.bootstrap,
        prediction_diff=PredictionDiff(
            windows=10,
            relabelled=0,
            unscored=0,
            by_label=[],
            by_user={},
            largest_blocks=[],
            days=7,
            start=AS_OF - 7 * DAY,
            end=AS_OF,
            summary="nothing changes",
        ),
        protections=["evidence policy point"],
        gates=made.gates,
        sequence=3,
        pointer_hash="4" * 64,
        policy_hash="5" * 64,
        previous_policy={"model_dir": f"models/{MID}", "reject_threshold": 0.6, "per_user_reject_thresholds": {"ä": 0.7}},
        policy=made.config.policy,
    )
    return following(with_changes(content, **changes))


def following(content: DecisionContent, *, policy_of_seed: dict[str, object] | None = None) -> PromotionDecision:
    """Seals a decision whose seed, comparison, verdict and reason follow from what else is in it."""
    comparison, settings = content.comparison, content.settings
    if comparison is not None:
        seed = derive_seed(content.dataset.digest, FILES[::-1], policy_of_seed or settings.policy)
        comparison = computed(comparison, settings, seed=seed)
    feasibility, required = content.dataset.feasibility, content.required_gates
    verdict, reason = decide(content.gates, feasibility, auto_promote=settings.promotion.auto_promote, required=required)
    return seal(with_changes(content, comparison=comparison, verdict=verdict, reason=reason))


def computed(comparison: Comparison, config: RetrainConfig, *, seed: int | None = None) -> Comparison:
    """The comparison that follows from the counts, as someone who knows the code would make it."""
    return complete_again(
        comparison,
        seed=comparison.seed if seed is None else seed,
        settings=config.comparison,
        min_class_windows=config.evaluation.min_class_windows,
    )


def reseal(decision: PromotionDecision, **changes: object) -> PromotionDecision:
    """The decision with some fields changed and its hash made to fit again, as someone who knows the code could do."""
    return seal(with_changes(decision, **changes))
