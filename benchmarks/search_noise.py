"""Prints how often the search for settings takes a change that is no better, and how often it finds one that is better by 0.05.

Predictions are simulated window by window: stretches of one label, days on which a model is better or worse, labels that it takes for
others on some days. Choices that are equally good are exchangeable by construction. A few generated homes are fitted by LightGBM as well.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.demo import generator
from taskclf_dagster.domain.data import feature_schema, labeled_windows, snapshot
from taskclf_dagster.domain.models import search
from taskclf_dagster.domain.models.choice import present_choice
from taskclf_dagster.domain.models.fold_fits import FoldFits
from taskclf_dagster.domain.models.fold_scores import count_days, paired_gain
from taskclf_dagster.home import Home

USER_DAYS = (6, 8, 10, 15, 20, 25, 30, 45, 60)
LABELS, STRETCHES_A_DAY, WINDOWS_A_STRETCH = 5, 9, 22
MIN_CLASS_WINDOWS, REAL_GAIN = 30, 0.05
MIN_KEPT, MIN_FOUND = 0.90, 0.80
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Spread(NamedTuple):
    """Standard deviations of what makes one model differ from another, in those of how hard stretches are: day, label on a day, stretch."""

    day: float
    label_on_day: float
    stretch: float


OTHER_INPUTS = Spread(0.10, 0.15, 0.20)
"""As clock inputs in or constant: on one person's 10 judged user-days the standard error of the difference was 0.03."""


OTHER_TREES = Spread(0.05, 0.05, 0.08)
"""As more leaves or an average of seeds: there it was 0.01."""


@dataclass(frozen=True)
class Simulated:
    """The windows of one home, and how far each stretch is from being predicted wrong."""

    day: Counts
    label: Counts
    confused_with: Counts
    windows: Counts
    margin: Floats
    noise: Floats

    def draw(self, rng: np.random.Generator, spread: Spread) -> Floats:
        """Returns what a model does better or worse than another, by stretch."""
        days = int(self.day.max()) + 1
        by_label = rng.normal(0, spread.label_on_day, (days, LABELS))[self.day, self.label]
        return rng.normal(0, spread.day, days)[self.day] + by_label + rng.normal(0, spread.stretch, len(self.day))

    def count(self, effect: Floats) -> Counts:
        """Returns the counts of a model's predictions by user-day and label."""
        right = (self.margin + effect)[self.windows] + self.noise > 0
        true = self.label[self.windows]
        return count_days(self.day[self.windows], true, np.where(right, true, self.confused_with[self.windows]))


def simulate(rng: np.random.Generator, days: int) -> Simulated:
    """Returns a home in which every day has its own mix of labels."""
    day = np.repeat(np.arange(days), STRETCHES_A_DAY)
    mix = rng.dirichlet(np.full(LABELS, 0.8), size=days)
    label = (rng.random(len(day))[:, None] > mix.cumsum(axis=1)[day]).sum(axis=1).clip(max=LABELS - 1)
    windows = np.repeat(np.arange(len(day)), 1 + rng.geometric(1 / WINDOWS_A_STRETCH, len(day)))
    by_day, by_label = rng.normal(0, 0.5, days)[day], rng.normal(0, 0.5, LABELS)[label]
    return Simulated(
        day=day,
        label=label,
        confused_with=(label + rng.integers(1, LABELS, len(day))) % LABELS,
        windows=windows,
        margin=rng.normal(0, 1, len(day)) + by_day + by_label,
        noise=rng.normal(0, 0.6, len(windows)),
    )


def is_taken(changed: Counts, present: Counts) -> bool:
    judged = np.flatnonzero(present[..., 0].sum(axis=0) >= MIN_CLASS_WINDOWS)
    return search.is_clearly_better(paired_gain(changed[:, judged], present[:, judged], seed=1))


def is_kept(rng: np.random.Generator, days: int) -> bool:
    """Returns True if none of five changes is taken, all of them as good as what is present."""
    home = simulate(rng, days)
    inputs, leaves = home.draw(rng, OTHER_INPUTS), home.draw(rng, OTHER_TREES)
    changes = [home.draw(rng, OTHER_INPUTS) + home.draw(rng, OTHER_TREES) for _ in range(2)]
    changes += [inputs + leaves, inputs + 0.6 * leaves + 0.8 * home.draw(rng, OTHER_TREES)]  # both have more leaves
    changes.append(inputs + home.draw(rng, OTHER_TREES))
    present = home.count(inputs + home.draw(rng, OTHER_TREES))
    return not any(is_taken(home.count(change), present) for change in changes)


def find_shift(spread: Spread) -> float:
    """Returns how much better stretches must be predicted for a gain of 0.05 in macro-F1, from homes of 300 days."""
    rng = np.random.default_rng(11)
    homes = [simulate(rng, 300) for _ in range(20)]
    drawn = [(home, home.draw(rng, spread), home.draw(rng, spread)) for home in homes]

    def gain(shift: float) -> float:
        pairs = [(home.count(one + shift)[:, :LABELS], home.count(other)[:, :LABELS]) for home, one, other in drawn]
        return float(np.mean([paired_gain(one, other, seed=1).value for one, other in pairs]))

    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if gain(middle) < REAL_GAIN else (low, middle)
    return low


def is_found(rng: np.random.Generator, days: int, spread: Spread, shift: float) -> bool:
    home = simulate(rng, days)
    return is_taken(home.count(home.draw(rng, spread) + shift), home.count(home.draw(rng, spread)))


def simulate_sizes(homes: int) -> Iterator[list[float]]:
    """Yields a row for each number of judged user-days."""
    shifts = [(spread, find_shift(spread)) for spread in (OTHER_INPUTS, OTHER_TREES)]
    for days in USER_DAYS:
        rng = np.random.default_rng([7, days])
        kept = float(np.mean([is_kept(rng, days) for _ in range(homes)]))
        yield [days, kept, *(float(np.mean([is_found(rng, days, *shift) for _ in range(homes)])) for shift in shifts)]


def fit_homes(homes: int) -> Iterator[list[object]]:
    """Yields, for generated homes of one person, if a model with another seed is taken for better, and what the search does."""
    config = RetrainConfig()
    for seed in range(homes):
        with tempfile.TemporaryDirectory() as folder:
            generator.generate_demo_home(Path(folder), end=date(2026, 6, 30), users=1, seed=seed)
            home = Home(Path(folder))
            labeled = labeled_windows.label_windows(home, as_of=datetime(2026, 7, 1, tzinfo=UTC), settings=config.dataset)
            record, rows = snapshot.build_snapshot(home, labeled.record, labeled.frame, config=config)
        schema, params = feature_schema.SCHEMAS[record.schema_version], config.train_params
        one, other = (
            FoldFits(rows, schema, params=params, dataset_digest=digest, num_threads=1)
            for digest in (record.dataset_digest, record.dataset_digest[::-1])
        )
        choice, judged = present_choice(params), one.judged_labels(MIN_CLASS_WINDOWS)
        gain = paired_gain(other.counts(choice, judged), one.counts(choice, judged), seed=1)
        found = search.search_choices(
            rows,
            schema,
            params=params,
            dataset_digest=record.dataset_digest,
            min_class_windows=MIN_CLASS_WINDOWS,
            min_user_days=config.comparison.min_user_days,
            budget=config.training.search_budget,
        )
        yield [seed, "taken" if search.is_clearly_better(gain) else "kept", gain.value, gain.p_value, found.result.summary]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--homes", type=int, default=1_000, help="simulated homes a size (default: %(default)s)")
    parser.add_argument("--fits", type=int, default=5, help="generated homes that LightGBM is fitted on (default: %(default)s)")
    chosen = parser.parse_args()
    sizes = list(simulate_sizes(chosen.homes))
    print(f"Taken: a gain of at least {search.MIN_GAIN} with a p-value of at most {search.MAX_P_VALUE}; {chosen.homes} homes a size\n")
    print(tabulate(sizes, headers=["judged user-days", "kept, five equal", "0.05 by inputs found", "0.05 by trees found"], floatfmt=".3f"))
    print(f"\nat equal choices the simpler is kept in {min(row[1] for row in sizes):.1%} or more of the homes (target: {MIN_KEPT:.0%})")
    for column, name in ((2, "inputs"), (3, "trees")):
        enough = min((int(row[0]) for row in sizes if row[column] >= MIN_FOUND), default="-")
        print(f"a real gain of {REAL_GAIN} by other {name} is found in {MIN_FOUND:.0%} of the homes from {enough} judged user-days on")
    if chosen.fits:
        print("\n" + tabulate(fit_homes(chosen.fits), headers=["home", "other seed", "gain", "p", "search"], floatfmt=".3f"))


if __name__ == "__main__":
    main()
