"""The report of one decision: its sections in their order. Sections are made in `*_sections`, files in `report_file`."""

from pathlib import PurePath

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.verdict import Verdict
from taskclf_dagster.domain.reporting.comparison_sections import (
    describe_difference,
    describe_labels,
    describe_slices,
    describe_users,
)
from taskclf_dagster.domain.reporting.decision_sections import describe_alone, describe_changes, describe_gates, describe_help, list_scores
from taskclf_dagster.domain.reporting.detail_sections import (
    describe_data,
    describe_hashes,
    describe_left_out,
    describe_protections,
    describe_settings,
)
from taskclf_dagster.domain.reporting.evaluation_sections import describe_calibration, describe_confusion
from taskclf_dagster.domain.reporting.report_document import Report, Section, Tone
from taskclf_dagster.domain.reporting.report_evidence import ReportEvidence
from taskclf_dagster.domain.reporting.verdict_words import say_comparison, say_verdict
from taskclf_dagster.shown_text import counted, shorten_names

BADGES: dict[Verdict, tuple[str, Tone]] = {
    "PROMOTE": ("Promoted", "good"),
    "AWAITING_APPROVAL": ("Waits for approval", "unsure"),
    "REJECT": ("Rejected", "bad"),
    "HOLD": ("On hold", "unsure"),
}
"""The name of each verdict for people, and its tone."""


def describe_decision(decision: PromotionDecision, evidence: ReportEvidence) -> Report:
    """Returns the report of a decision; it says what was decided then, not what a person did with it later.

    Args:
        decision: the decision.
        evidence: what is shown beside the receipt.
    """
    word, tone = BADGES[decision.verdict]
    return Report(
        title=f"Retraining of {decision.as_of:%Y-%m-%d}",
        headline=say_verdict(decision, moved=decision.moves_pointer),
        badge=(f"{word} (dry run)", "neutral") if decision.options.dry_run else (word, tone),
        facts=_list_facts(decision),
        sections=_list_sections(decision, evidence),
        closing=[
            f"Made from the receipt {decision.decision_id}, which alone counts: nothing is decided by this file. "
            "An approval or a rollback after it is in taskclf-dagster history.",
            f"taskclf-dagster report {decision.decision_id} writes it again.",
        ],
    )


def _list_facts(decision: PromotionDecision) -> list[tuple[str, str]]:
    champion = decision.champion.model
    options = [name for name, given in (("force", decision.options.forced), ("bootstrap", decision.options.bootstrap)) if given]
    facts = [
        ("As of", f"{decision.as_of:%Y-%m-%d %H:%M} UTC"),
        ("New model", decision.challenger.model_id),
        ("Running model", "none" if champion is None else champion.model_id),
        ("Verdict", decision.outcome),
        ("Decision", decision.decision_id),
    ]
    if decision.trial is not None:
        bounds = decision.trial.bounds
        facts.append(("Judged by", f"a trial on {counted(bounds.user_days, 'user-day')} since {decision.trial.windows_from:%Y-%m-%d}"))
    if options:
        facts.append(("Launched with", ", ".join(options)))
    folder = PurePath(decision.home).name  # its path may name a person, and a report is sent to others
    return [*facts, ("Home", f"{folder} (generated demo data)" if decision.demo else folder)]


def _list_sections(decision: PromotionDecision, evidence: ReportEvidence) -> list[Section]:
    comparison, settings = decision.comparison, decision.settings.comparison
    diff = decision.prediction_diff
    users = set() if comparison is None else set(comparison.sums.users)
    if diff is not None:
        users |= {*diff.by_user, *(block.user_id for block in diff.largest_blocks)}
    names, sentence = shorten_names(users), say_comparison(decision)
    sections = [describe_help(decision), describe_gates(decision.gates, decision)]
    if comparison is None:
        sections.append(describe_alone(decision, sentence))
    else:
        sections += [
            describe_difference(comparison, settings, sentence, list_scores(decision), title="New and running model on the same minutes"),
            describe_labels(comparison),
            describe_users(comparison, names),
            describe_slices(comparison, settings),
        ]
    if evidence.challenger is not None:
        running = [] if evidence.champion is None else [("Running model", "old", evidence.champion)]
        sections += [describe_confusion(evidence.challenger), describe_calibration([("New model", "new", evidence.challenger), *running])]
    return [
        *sections,
        describe_changes(diff, names),
        describe_data(decision, evidence.snapshot),
        describe_settings(decision, evidence),
        describe_protections(decision),
        describe_hashes(decision),
        describe_left_out(evidence.left_out),
    ]
