"""Invents the people of a demo home: the same for the same seed and schema."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from taskclf_dagster.demo.columns import Floats
from taskclf_dagster.demo.habits import APP_IDS, APPS, INPUTS, MIX, NEW, RATES, SLOT, TITLES_PER_APP
from taskclf_dagster.domain.data.feature_schema import DEFAULT_USER, LABELS, SchemaVersion


@dataclass(frozen=True)
class Plan:
    """The settings that all days of a demo home share. From the day `drift_from` on a new app is used and habits have shifted."""

    seed: int
    schema: SchemaVersion
    drift_from: date


@dataclass(frozen=True)
class Person:
    """An invented person: working hours, tempo, preferred apps, and titles."""

    index: int
    user_id: str
    start: int  # minute of the day (UTC) at which work begins
    lunch: int
    appetite: Floats  # for each task
    rates: Floats  # as RATES, at this person's tempo
    app_mixes: tuple[Floats, Floats]  # cumulative shares of the apps in each task, before and after the drift
    title_hashes: npt.NDArray[np.object_]  # one entry a title, TITLES_PER_APP for each app
    title_columns: dict[str, npt.NDArray[np.generic]]  # the title columns of schema v3, one entry a title


def invent_person(shared: Plan, index: int) -> Person:
    """Returns the person with an index: the same for the same seed and schema."""
    rng = np.random.default_rng([shared.seed, index])
    user_id = DEFAULT_USER if shared.schema == "v2" else str(uuid.UUID(bytes=rng.bytes(16), version=4))
    liking = rng.exponential(size=len(APP_IDS)) ** 2
    liking[NEW] = 0
    slots = MIX[:, : len(APPS)] * rng.gamma(25, 1 / 25, (len(MIX), len(APPS)))
    apps = (slots / slots.sum(axis=1, keepdims=True))[:, SLOT] * (liking / np.bincount(SLOT, liking)[SLOT])
    later = apps.copy()
    later[:, :NEW] *= 0.55
    later[:, NEW] = apps[:, :NEW].sum(axis=1) - later[:, :NEW].sum(axis=1)
    start = int(rng.integers(7 * 60, 9 * 60 + 30))
    titles = range(len(APP_IDS) * TITLES_PER_APP)
    return Person(
        index=index,
        user_id=user_id,
        start=start,
        lunch=start + int(rng.integers(200, 270)),
        appetite=rng.gamma(60, 1 / 60, len(LABELS)),
        rates=RATES * np.exp(rng.normal(0, 0.2, (len(INPUTS), 1)) + rng.normal(0, 0.04, RATES.shape)),
        app_mixes=(apps.cumsum(axis=1), later.cumsum(axis=1)),
        title_hashes=np.array([hashlib.sha256(f"{user_id} {title}".encode()).hexdigest()[:12] for title in titles], dtype=object),
        title_columns=_invent_titles(rng, len(titles)) if shared.schema == "v3" else {},
    )


def _invent_titles(rng: np.random.Generator, titles: int) -> dict[str, npt.NDArray[np.generic]]:
    """Returns sketches and counts of invented titles, for which no text exists."""
    tokens = rng.integers(1, 12, titles)
    characters = tokens * rng.integers(4, 9, titles)
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for kind, pieces in (("token", tokens), ("char3", characters)):
        sketch = rng.multinomial(pieces, rng.dirichlet(np.full(128, 0.2), titles)) / pieces[:, None]
        columns |= {f"title_{kind}_sketch_{i:03d}": sketch[:, i] for i in range(128)}
    unique = rng.binomial(tokens - 1, 0.95) + 1
    digits = rng.binomial(characters, 0.05)
    counts = {"title_char_count": characters, "title_token_count": tokens, "title_separator_count": rng.binomial(tokens, 0.3)}
    return columns | counts | {"title_unique_token_ratio": unique / tokens, "title_digit_ratio": digits / characters}
