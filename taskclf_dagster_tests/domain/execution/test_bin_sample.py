"""The sample that bins are chosen from: the same rows however they are divided."""

import numpy as np

from taskclf_dagster.domain.execution.bin_sample import draw_sample, hash_sample, load_sample
from taskclf_dagster.domain.execution.trainer import Matrix
from taskclf_dagster_tests.training_shards import cut


def sample(*sizes: int, seed: int = 3, rows: int = 100) -> Matrix:
    return np.concatenate([load_sample(each) for each in draw_sample(cut(*sizes), seed=seed, rows=rows)])


def test_the_sample_does_not_depend_on_the_shards() -> None:
    whole = sample(1000)
    assert whole.shape == (100, 3)
    for sizes in ((500, 500), (1, 998, 1), (10, 20, 970)):
        np.testing.assert_array_equal(sample(*sizes), whole)
        assert hash_sample(sample(*sizes)) == hash_sample(whole)


def test_the_sample_has_each_row_at_most_once_and_all_where_there_are_few() -> None:
    assert len(np.unique(sample(1000)[:, 0])) == 100
    np.testing.assert_array_equal(sample(40, 60), cut(100)[0].load_inputs())


def test_another_seed_or_another_number_gives_another_hash() -> None:
    hashes = {hash_sample(sample(1000, seed=seed)) for seed in (3, 4)}
    changed = sample(1000)
    changed[0, 0] = np.nextafter(changed[0, 0], 9)
    assert len(hashes | {hash_sample(changed)}) == 3
