"""Metadata of promotion_decision and active_pointer, and what the comparative checks claim. Dagster concept: metadata.

Add here what their pages show; tables and pictures of the comparison are in `decision_metadata`.
"""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from taskclf_dagster.defs.display.decision_metadata import (
    comparison_metadata,
    fair_table,
    rejected_by_day,
    suggestions_table,
    summarize_comparison,
)
from taskclf_dagster.defs.display.metadata import gate_table, plotted
from taskclf_dagster.defs.display.model_metadata import FLOORS_CHECK, all_windows_table
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import receipt_path
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.decision.floors import FLOORS
from taskclf_dagster.domain.decision.suggestion_store import LabelSuggestions
from taskclf_dagster.domain.registry.health import find_history_disagreement, find_pointer_problem
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import show_block

COMPARATIVE_CHECKS: dict[str, str] = {
    "macro_f1_no_regression": "On the same unseen windows the challenger is not worse than the champion, as evidence_policy defines it.",
    "min_improvement": "On the same windows the macro-F1 of the challenger is higher by at least min_improvement; off at 0.",
    "not_worse_than_anchor": "The challenger is not far below the best model of the last 60 days, so that small declines do not add up.",
    "no_user_clearly_worse": "The predictions of no user are significantly worse than those of the champion.",
    "no_class_clearly_worse": "The predictions of no label are significantly worse than those of the champion.",
    "no_slice_clearly_worse": "The predictions of no slice are significantly worse than the champion's; advice unless slice_gate is on.",
    "negative_flips": "Few windows that the champion predicts correctly become wrong.",
    "not_rolled_back": "The challenger is not a model that a person rolled back.",
}
"""The comparative gates, with what each check claims."""


FLOORS_CLAIM = (
    "Every floor is reached; with floor_policy improve, one that the champion misses, too, may be missed if the challenger is not below it."
)


USER_DAYS_CHECK = "Advice: the comparison has enough user-days for a reliable interval."


PROMOTED = "challenger_is_promoted"


PROMOTED_CHECK = "The verdict promotes the challenger. Red on REJECT; a warning on HOLD, AWAITING_APPROVAL and a dry run; with the reason."


LOADS = "points_to_a_valid_bundle"


AGREES = "agrees_with_the_history"


DISAGREEMENT = "no_day_disagrees_with_the_models"


DISAGREEMENT_CHECK = "Advice: on no test day do challenger and champion both agree with far fewer labels than on every other day."


def decision_metadata(
    home: Home,
    record: PromotionDecision,
    challenger: ChallengerReport,
    champion: ChampionReport,
    interval: Mapping[str, dg.MetadataValue],
    suggestions: LabelSuggestions,
) -> dict[str, object]:
    """Returns verdict, reason, the fair comparison, gates, the comparison in detail with pictures, and what to label next.

    Args:
        home: the taskclf home.
        record: the decision.
        challenger: the report on the challenger.
        champion: the report on the champion.
        interval: the pictures from `draw_interval`.
        suggestions: those that came with the decision.
    """
    before, after = score_fairly(record)
    bounds = None if record.comparison is None else record.comparison.evidence.interval
    return {
        "verdict": record.outcome,
        "reason": dg.MetadataValue.md(record.reason),
        "comparison": dg.MetadataValue.md(summarize_comparison(record.comparison)),
        "fair_comparison": fair_table(record),
        "gates": gate_table(record.gates),
        **rejected_by_day(suggestions.day_effects),
        "what_to_label_next": suggestions_table(suggestions),
        **comparison_metadata(record, interval),
        "other_metrics": all_windows_table(challenger.report, champion.report),
        **plotted(
            macro_f1_challenger=after.macro_f1,
            weighted_challenger=after.weighted_f1,
            accuracy_challenger=after.accuracy,
            macro_f1_champion=None if before is None else before.macro_f1,
            weighted_champion=None if before is None else before.weighted_f1,
            accuracy_champion=None if before is None else before.accuracy,
            macro_f1_delta=None if record.comparison is None else record.comparison.macro_f1_delta,
            lower_bound=None if bounds is None else bounds[0],
            upper_bound=None if bounds is None else bounds[1],
        ),
        "compared_windows": after.windows,
        "gates_failed": sum(gate.status == "FAIL" for gate in record.gates),
        "challenger_model": record.challenger.model_id,
        "champion_model": "none" if record.champion.model is None else record.champion.model.model_id,
        "decision_id": record.decision_id,
        "record": dg.MetadataValue.path(str(receipt_path(home, record.decision_id))),
        "home": record.home,
    }


def report_metadata(path: Path, page: str | None) -> dict[str, object]:
    """Returns where the report of a decision is: its file, and its page if the address of the server is configured."""
    return {"report": dg.MetadataValue.path(str(path)), **({} if page is None else {"report_page": dg.MetadataValue.url(page)})}


def floors_check(record: PromotionDecision) -> dg.AssetCheckResult:
    """Returns the check of the floors as the decision judged them; it lists those that were not simply reached."""
    floors = [gate for gate in record.gates if gate.name in FLOORS]
    missed = [gate for gate in floors if gate.status not in ("PASS", "NOT_APPLICABLE")]
    shown = [f"{gate.status}: {gate.name}: {gate.detail}" for gate in floors if gate in missed or gate.beside is not None]
    return dg.AssetCheckResult(
        check_name=FLOORS_CHECK,
        passed=not missed,
        description="\n".join(shown) or "Every floor is reached.",
        metadata={"missed": len(missed)},
    )


def promoted_check(record: PromotionDecision) -> dg.AssetCheckResult:
    """Returns the check that says at a glance if the challenger is promoted: red on REJECT, a warning while nothing was decided."""
    return dg.AssetCheckResult(
        check_name=PROMOTED,
        passed=record.moves_pointer,
        severity=dg.AssetCheckSeverity.ERROR if record.verdict == "REJECT" else dg.AssetCheckSeverity.WARN,
        description=f"{record.outcome}: {record.reason}",
        metadata={"verdict": record.outcome},
    )


def pointer_metadata(
    home: Home, pointer: ActivePointer, previous: ActivePointer | None, decision: PromotionDecision | None, reason: str
) -> dict[str, object]:
    """Returns the metadata of active_pointer, whatever changed it.

    Args:
        home: the taskclf home.
        pointer: the new pointer.
        previous: the pointer before; None if there was none, or it is unknown.
        decision: the decision that promoted the model; None if none did.
        reason: of the change.
    """
    return {
        "model_id": pointer.name,
        "reason": reason,
        "previous": "none" if previous is None else previous.model_dir,
        "decision_id": "none" if decision is None else decision.decision_id,
        "record": pointer.sequence or 0,
        **({} if decision is None else plotted(macro_f1=score_fairly(decision)[1].macro_f1)),
        "pointer": dg.MetadataValue.path(str(home.active_pointer)),
        "home": home.display_name,
    }


def registry_checks(state: RegistryState) -> list[dg.AssetCheckResult]:
    """Returns the checks of active_pointer about its files: the bundle loads, and the history agrees."""
    problem, difference = find_pointer_problem(state), find_history_disagreement(state)
    loads = "The bundle loads." if problem is None else problem.detail
    return [
        dg.AssetCheckResult(passed=problem is None, check_name=LOADS, description=show_block(loads)),
        dg.AssetCheckResult(passed=difference is None, check_name=AGREES, description=show_block(difference or "They agree.")),
    ]
