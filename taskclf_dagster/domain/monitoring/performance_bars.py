"""The two bars that the active model must not fall below: a share of its own test figure, and the lookup table on the same windows.

A bar is missed only with evidence: the whole interval over user-days lies below it. What follows from that is in `live_performance`.
"""

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.home_places import features_folder
from taskclf_dagster.domain.data.windows import read_windows
from taskclf_dagster.domain.evaluation.baselines import fit_lookup
from taskclf_dagster.domain.evaluation.confusion import count_predictions
from taskclf_dagster.domain.evaluation.significance import student_bound
from taskclf_dagster.domain.models.bundle import ModelBundle, parse_bundle
from taskclf_dagster.domain.models.bundle_files import METRICS, BundleFiles, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.learned_rows import load_learned
from taskclf_dagster.domain.models.reproducibility import open_training_snapshot
from taskclf_dagster.domain.monitoring.live_figures import compare_with_error, score_with_error
from taskclf_dagster.domain.storage.json_files import parse_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import BundleError, NoWindowsError, SnapshotError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted
from taskclf_dagster.validation_text import describe_validation_error

_Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


_Int = npt.NDArray[np.int64]


BarName = Literal["test_figure", "lookup_table"]


class PerformanceBar(Record):
    """One comparison of the active model's live macro-F1 [0 to 1, higher is better].

    Attributes:
        verdict: dropped if the whole interval of `difference` is below 0; not_judged without a reference or without enough evidence.
        labels: those over which both are averaged.
        windows, user_days: with a gold label.
        live: of the model.
        reference: its test figure, or the lookup table on the same windows.
        bound: what live is compared with: the reference, less the relative drop that is allowed for a test figure.
        difference: live - bound.
        interval: of the difference, by Student's t over user-days.
        detail: one sentence, without a full stop.
    """

    name: BarName
    verdict: Literal["dropped", "holds", "not_judged"]
    labels: list[str]
    windows: int
    user_days: int
    live: float | None = None
    reference: float | None = None
    bound: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    detail: str


class _TestFigures(BaseModel):
    """The key `test` of metrics.json; `f1` is of each judged label, and absent in bundles of earlier versions."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    macro_f1: _Score | None
    judged_labels: list[str]
    f1: dict[str, _Score | None] = {}


def check_bars(home: Home, model_id: str, known: pd.DataFrame, judged: list[str], *, config: RetrainConfig) -> list[PerformanceBar]:
    """Compares what the active model said with both bars.

    Args:
        home: the taskclf home.
        model_id: the active model.
        known: the windows that it scored and did not learn from, with gold labels, as `join_labels` returns them.
        judged: labels with enough true windows among them.
        config: the configuration.
    """
    folder = find_bundle(home, model_id)
    files = None if folder is None else read_bundle_files(folder)
    return [
        _check_test_figure(files, known, judged, config),
        _check_lookup(home, files, known, judged, config),
    ]


def _check_test_figure(files: BundleFiles | None, known: pd.DataFrame, judged: list[str], config: RetrainConfig) -> PerformanceBar:
    found = _read_test_figures(files)
    if isinstance(found, str):
        return _not_judged("test_figure", known, judged, found)
    labels, reference = _choose_labels(found, judged)
    if reference is None:
        lacking = ", ".join(sorted({*found.judged_labels} - {*judged})) or "labels"
        why = f"its test figure is over other labels, and it is not known without {lacking}, of which there are too few windows"
        return _not_judged("test_figure", known, judged, why)
    live, error, days = score_with_error(known, labels)
    bound = (1 - config.live.max_live_drop) * reference
    bar = _not_judged("test_figure", known, labels, "").model_copy(update={"reference": reference, "bound": bound, "live": live})
    return _judge(bar, None if live is None else live - bound, error, days, config)


def _check_lookup(home: Home, files: BundleFiles | None, known: pd.DataFrame, judged: list[str], config: RetrainConfig) -> PerformanceBar:
    if known.empty or not judged:
        return _not_judged("lookup_table", known, judged, "no label has enough windows")
    try:
        kept, table = _predict_by_table(home, files, known)
    except (BundleError, SnapshotError, NoWindowsError, UnreadableFileError) as problem:
        return _not_judged("lookup_table", known, judged, f"there is no table to compare with: {str(problem).rstrip('.')}")
    difference, error, days = compare_with_error(kept, table, judged)
    counts = np.isin(LABELS, judged)
    live, reference = (count_predictions(kept["true"].to_numpy(), said).macro_f1(counts) for said in (kept["predicted"].to_numpy(), table))
    bar = _not_judged("lookup_table", kept, judged, "").model_copy(update={"live": live, "reference": reference, "bound": reference})
    return _judge(bar, difference, error, days, config)


def _judge(bar: PerformanceBar, difference: float | None, error: float | None, days: int, config: RetrainConfig) -> PerformanceBar:
    """Adds difference, interval and verdict to a bar."""
    limits = config.comparison
    half = None if error is None else student_bound(error, days, 1 - limits.significance / 2)
    interval = None if difference is None or half is None else (difference - half, difference + half)
    bar = bar.model_copy(update={"difference": difference, "interval": interval, "user_days": days})
    need = f"(at least {limits.min_user_days} and {limits.min_windows} are needed)"
    found = f"{counted(days, 'user-day')} with {counted(bar.windows, 'labeled window')}"
    if bar.live is None or interval is None or days < limits.min_user_days or bar.windows < limits.min_windows:
        return bar.model_copy(update={"detail": f"{found} are too few to say {need}"})
    name = "its own test figure" if bar.name == "test_figure" else "the lookup table"
    less = f", less {config.live.max_live_drop:.0%}: {bar.bound:.4f}" if bar.name == "test_figure" else ""
    numbers = f"macro-F1 {bar.live:.4f} beside {bar.reference:.4f} of {name}{less}"
    spread = f"difference {difference:+.4f}, {1 - limits.significance:.0%} interval {interval[0]:+.4f} to {interval[1]:+.4f}, over {found}"
    verdict = "dropped" if interval[1] < 0 else "holds"
    claim = "clearly below" if verdict == "dropped" else "not clearly below"
    return bar.model_copy(update={"verdict": verdict, "detail": f"{claim} the bound: {numbers} ({spread})"})


def _not_judged(name: BarName, known: pd.DataFrame, labels: list[str], detail: str) -> PerformanceBar:
    starts = known["bucket_start_ts"].dt.date
    days = len(pd.DataFrame({"user": known["user_id"], "day": starts}).drop_duplicates())
    return PerformanceBar(name=name, verdict="not_judged", labels=labels, windows=len(known), user_days=days, detail=detail)


def _read_test_figures(files: BundleFiles | None) -> _TestFigures | str:
    """Returns the test figures that a bundle keeps, or the reason why there are none."""
    if files is None:
        return "its bundle does not exist any more"
    try:
        document = parse_json_object(files.folder / METRICS, files.content(METRICS)).get("test")
        found = None if document is None else _TestFigures.model_validate(document)
    except ValidationError as error:
        return f"the test figures of its {METRICS} cannot be read: {describe_validation_error(error)}"
    except (OSError, UnreadableFileError) as error:
        return str(error).rstrip(".")
    return found or f"its {METRICS} has no test figure, as those of other programs"


def _choose_labels(found: _TestFigures, judged: list[str]) -> tuple[list[str], float | None]:
    """Returns the labels that are judged in both, and the test figure over them.

    A bundle that keeps only the mean over all its labels is compared where all of them are judged now.
    """
    both = [label for label in LABELS if label in judged and label in found.judged_labels]
    values = [found.f1.get(label) for label in both]
    known = [value for value in values if value is not None]
    if both and len(known) == len(both):
        return both, float(np.mean(known))
    return both, found.macro_f1 if both and {*found.judged_labels} == {*both} else None


def _predict_by_table(home: Home, files: BundleFiles | None, known: pd.DataFrame) -> tuple[pd.DataFrame, _Int]:
    """Returns the windows whose app is known, and what the table of the model's own training windows says about them.

    Raises:
        BundleError: the bundle does not exist, or does not name its snapshot, as those of other programs.
        SnapshotError: the snapshot is missing or was changed.
        NoWindowsError: the windows were removed.
        UnreadableFileError: no day of the windows can be read.
    """
    if files is None:
        raise BundleError(home.models, "not_found", "its bundle does not exist any more")
    bundle: ModelBundle = parse_bundle(files)
    metadata = bundle.require()
    stored = open_training_snapshot(home, files)
    columns = ["app_id", "app_category", "label"]
    table = fit_lookup(load_learned(stored, refit=metadata.refit, uses_older=metadata.uses_older, columns=columns))
    first, last = known["bucket_start_ts"].min(), known["bucket_start_ts"].max() + pd.Timedelta(minutes=1)
    version = next(version for version in ("v1", "v2", "v3") if version == metadata.schema_version)
    reading = read_windows(home, start=first.to_pydatetime(), end=last.to_pydatetime(), schema_version=version, skip_unreadable_days=True)
    if reading.frame is None:
        raise UnreadableFileError(features_folder(home, version), str(reading.violations[0]), "Let taskclf write the day again")
    keys, own = hash_row_keys(known), hash_row_keys(reading.frame)
    order = np.argsort(own)
    place = np.minimum(np.searchsorted(own, keys, sorter=order), len(own) - 1)
    present = own[order[place]] == keys
    return known[present], table.predict(reading.frame.take(order[place[present]]))
