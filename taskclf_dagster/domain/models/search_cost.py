"""Cost of a fit in work units: the same on every machine, so that a budget of the search does not depend on its speed.

The numbers were fitted to the CPU seconds of 66 fits of 500 to 30,000 rows with 39 and 299 inputs, 7 to 31 leaves, and half or all of the
inputs for each tree. Work units are meant for the ratio of two fits on the same inputs, which they give within about a quarter.
"""

from taskclf_dagster.config.settings import TrainParams

ORIGINAL_ROUNDS, ORIGINAL_LEAVES = 100, 31
"""Of taskclf's own settings, as in `configs/original.yaml`."""


ROWS_PER_FIT, LEAVES_PER_TREE = 2_000, 14
"""A fit costs as if it had so many more rows, and a tree as if it had so many more leaves."""


COST_WITHOUT_INPUTS = 0.65
"""Share of the cost of a tree that does not depend on `feature_fraction`."""


def fit_cost(rows: int, params: TrainParams) -> float:
    """Returns the work units of one fit; rows are those that it learns from and those that it predicts."""
    share = COST_WITHOUT_INPUTS + (1 - COST_WITHOUT_INPUTS) * params.feature_fraction
    return params.num_boost_round * share * (rows + ROWS_PER_FIT) * (params.num_leaves + LEAVES_PER_TREE)


def unit_cost(rows: int) -> float:
    """Returns the work units of one fit of the original settings, which use all inputs for each tree."""
    return float(ORIGINAL_ROUNDS * (rows + ROWS_PER_FIT) * (ORIGINAL_LEAVES + LEAVES_PER_TREE))
