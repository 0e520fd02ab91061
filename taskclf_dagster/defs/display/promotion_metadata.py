"""Metadata of promotion_decision and active_pointer, and what the comparative checks claim. Dagster concept: metadata.

Add here what their pages show; tables and pictures of the comparison are in `decision_metadata`.
"""

from collections.abc import Mapping

import dagster as dg

from taskclf_dagster.defs.display.decision_metadata import comparison_metadata
from taskclf_dagster.defs.display.metadata import gate_table, plotted
from taskclf_dagster.defs.display.model_metadata import comparison_table
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import receipt_path
from taskclf_dagster.domain.retraining.apply_decision import AppliedDecision
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.home import Home

COMPARATIVE_CHECKS: dict[str, str] = {
    "macro_f1_no_regression": "On the same unseen windows the challenger is not worse than the champion, as evidence_policy defines it.",
    "min_improvement": "On the same windows the macro-F1 of the challenger is higher by at least min_improvement; off at 0.",
    "not_worse_than_anchor": "The challenger is not far below the best model of the last 60 days, so that small declines do not add up.",
    "no_user_clearly_worse": "The predictions of no user are significantly worse than those of the champion.",
    "no_class_clearly_worse": "The predictions of no label are significantly worse than those of the champion.",
    "negative_flips": "Few windows that the champion predicts correctly become wrong.",
    "not_rolled_back": "The challenger is not a model that a person rolled back.",
}
"""The comparative gates, with what each check claims."""


USER_DAYS_CHECK = "Advice: the comparison has enough user-days for a reliable interval."


DISAGREEMENT = "no_day_disagrees_with_the_models"


DISAGREEMENT_CHECK = "Advice: on no test day do challenger and champion both agree with far fewer labels than on every other day."


def decision_metadata(
    home: Home,
    record: PromotionDecision,
    challenger: ChallengerReport,
    champion: ChampionReport,
    interval: Mapping[str, dg.MetadataValue],
) -> dict[str, object]:
    """Returns verdict, reason, gates, and the comparison of the models, with the picture from `draw_interval`."""
    bounds = None if record.comparison is None else record.comparison.evidence.interval
    return {
        "verdict": record.outcome,
        "reason": record.reason,
        "home": record.home,
        "decision_id": record.decision_id,
        "champion_model": "none" if record.champion.model is None else record.champion.model.model_id,
        "record": dg.MetadataValue.path(str(receipt_path(home, record.decision_id))),
        "gates": gate_table(record.gates),
        "champion_versus_challenger": comparison_table(challenger.report, champion.report),
        **comparison_metadata(record, interval),
        **plotted(
            challenger_macro_f1=record.challenger.macro_f1,
            challenger_weighted_f1=record.challenger.weighted_f1,
            champion_macro_f1=None if record.champion.model is None else record.champion.model.macro_f1,
            champion_weighted_f1=None if record.champion.model is None else record.champion.model.weighted_f1,
            macro_f1_delta=None if record.comparison is None else record.comparison.macro_f1_delta,
            interval_low=None if bounds is None else bounds[0],
            interval_high=None if bounds is None else bounds[1],
            gates_failed=sum(gate.status == "FAIL" for gate in record.gates),
        ),
    }


def pointer_metadata(home: Home, decision: PromotionDecision, applied: AppliedDecision) -> dict[str, object]:
    """Returns the new and the previous model, and the decision that promoted it."""
    return {
        "home": decision.home,
        "model_id": decision.challenger.model_id,
        "previous": "none" if applied.previous is None else applied.previous.model_dir,
        "decision_id": decision.decision_id,
        "reason": decision.reason,
        "pointer": dg.MetadataValue.path(str(home.active_pointer)),
        **plotted(macro_f1=decision.challenger.macro_f1),
    }
