"""The common sample of rows that bins are chosen from, so that trees do not depend on the rows that each process has."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskclf_dagster.domain.execution.trainer import Matrix, Shard

SAMPLE_ROWS = 200_000
"""Rows of the sample: as many as LightGBM takes by itself."""


class SampledShard(NamedTuple):
    """A shard, and the positions of its rows that are in the sample, ascending."""

    shard: Shard
    positions: npt.NDArray[np.int64]


def draw_sample(shards: Sequence[Shard], *, seed: int, rows: int = SAMPLE_ROWS) -> list[SampledShard]:
    """Returns the rows of the sample by shard; the same rows of all, however they are divided into shards.

    Args:
        shards: the rows, in order.
        seed: of the draw.
        rows: size of the sample; all rows if there are no more.
    """
    ends = np.cumsum([shard.rows for shard in shards])
    total = int(ends[-1])
    drawn = np.arange(total)
    if total > rows:
        drawn = np.sort(np.random.default_rng(seed).choice(total, size=rows, replace=False, shuffle=False))
    begins = ends - [shard.rows for shard in shards]
    return [
        SampledShard(shard, drawn[np.searchsorted(drawn, begin) : np.searchsorted(drawn, end)] - begin)
        for shard, begin, end in zip(shards, begins, ends, strict=True)
    ]


def load_sample(sampled: SampledShard) -> Matrix:
    """Returns the inputs of the sampled rows of a shard, row-major, shape (rows, inputs)."""
    return np.ascontiguousarray(sampled.shard.load_inputs()[sampled.positions])


def hash_sample(sample: Matrix) -> str:
    """Returns the SHA-256 of the shape of a sample and of its numbers row by row, in hex."""
    digest = hashlib.sha256(f"{sample.shape[0]} {sample.shape[1]} ".encode())
    digest.update(np.ascontiguousarray(sample, dtype="<f8").data)
    return digest.hexdigest()
