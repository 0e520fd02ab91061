"""Replays policies over the history of a home and compares them; nothing of the home is written but the folder of shared results."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.backtest.fits_ahead import open_fits_ahead
from taskclf_dagster.domain.backtest.labeled_history import read_labeled_history
from taskclf_dagster.domain.backtest.looks import plan_looks
from taskclf_dagster.domain.backtest.policies import Policy
from taskclf_dagster.domain.backtest.policy_figures import BAD_DIFFERENCE, Truth, summarize_policy
from taskclf_dagster.domain.backtest.policy_replay import PolicyRun, replay_policy
from taskclf_dagster.domain.backtest.replay_record import Replay
from taskclf_dagster.domain.backtest.replayed_home import open_replayed_home
from taskclf_dagster.domain.backtest.served_predictions import ServedPredictor
from taskclf_dagster.domain.backtest.workshop import Workshop
from taskclf_dagster.errors import ReplayRangeError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress, Report, ignore_progress


@dataclass(frozen=True)
class ReplayedTime:
    """The time that is replayed.

    Attributes:
        first, last: its ends.
        zone: the time zone of cron lines and days.
        every: schedule and sensor look on every n-th day only [days].
    """

    first: datetime
    last: datetime
    zone: ZoneInfo
    every: int = 1


def replay_policies(
    workshop: Workshop,
    policies: Sequence[Policy],
    span: ReplayedTime,
    *,
    present: RetrainConfig,
    workers: int = 1,
    judged_by: Home | None = None,
    on_progress: Report = ignore_progress,
) -> Replay:
    """Replays each policy from no model on, and measures its models on the labels that are known today.

    Args:
        workshop: the home, and what the policies share.
        policies: the first is the one that the others are compared with.
        span: the time.
        present: the present configuration, whose labels and bounds hold for the figures of every policy.
        workers: number of processes that train ahead; 1 for none.
        judged_by: a home of the same windows by whose labels models are measured, where those of the real one are known to be wrong.
        on_progress: takes a report before each look.

    Raises:
        ReplayRangeError: the time is empty, or has no labels.
        UnreadableFileError: a file cannot be read.
    """
    if not policies or span.first >= span.last:
        raise ReplayRangeError(f"{span.first:%Y-%m-%d %H:%M} is not before {span.last:%Y-%m-%d %H:%M}", "Choose an earlier --from")
    history = read_labeled_history(judged_by or workshop.home, present.dataset, first=span.first, last=span.last)
    truth = Truth(history, present)
    runs = _run_all(workshop, policies, span, workers, on_progress)
    predictor = ServedPredictor(workshop.home, history, num_threads=workshop.retrainer.trainer.cores)
    predictions = [predictor.predict(run.served) for run in runs]
    return Replay(
        home=workshop.home.display_name,
        first=span.first,
        last=span.last,
        labeled_windows=len(history.rows),
        user_days=truth.user_days,
        judged_labels=truth.judged_labels,
        confidence=1 - present.comparison.significance,
        bad_difference=BAD_DIFFERENCE,
        stale_after=present.scheduling.max_days_since_training,
        reference=policies[0].name,
        policies=[
            summarize_policy(
                run,
                said,
                truth,
                present=present,
                reference=predictions[0] if number else None,
                first=span.first,
                last=span.last,
            )
            for number, (run, said) in enumerate(zip(runs, predictions, strict=True))
        ],
    )


def _run_all(workshop: Workshop, policies: Sequence[Policy], span: ReplayedTime, workers: int, on_progress: Report) -> list[PolicyRun]:
    ends = workshop.labels.list_ends(span.first, span.last)
    looks = [plan_looks(each.config, ends, first=span.first, last=span.last, zone=span.zone, every=span.every) for each in policies]
    total, done, runs = sum(map(len, looks)), 0, []
    with open_fits_ahead(workshop, workers) as ahead:
        for policy, planned in zip(policies, looks, strict=True):

            def report(progress: Progress, before: int = done) -> None:
                on_progress(progress._replace(done=before + progress.done, total=total))

            with open_replayed_home(workshop.home, workshop.labels) as replayed:
                runs.append(replay_policy(replayed, policy, planned, workshop.retrainer, ahead=ahead, on_progress=report))
            done += len(planned)
    on_progress(Progress("measuring", total, total, "look"))
    return runs
