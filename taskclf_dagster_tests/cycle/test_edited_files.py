"""Every file of a home edited between every two steps of a retrain: nothing is promoted that a clean run would not have promoted.

A clean run saves the home after each step. An edit changes one value of one file of a saved home; the steps that remain are run on it.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.home import Home
from taskclf_dagster_tests.cycle.edited_runs import CASES, FAILED, SAME, SMALL, WRONG, Result, Sweep
from taskclf_dagster_tests.cycle.stages import FIRST
from taskclf_dagster_tests.cycle.step_by_step import STEPS, Files, StepByStep, read_files
from taskclf_dagster_tests.faults.injection import EVERYTHING
from taskclf_dagster_tests.file_edits import Edit, dumped, edits_of, with_column
from taskclf_dagster_tests.scenario import add_learnable_days, learnable_home

EVERY_FILE = ("promotes", "fails a gate")
"""The cases in which every file of the home is edited before every step; in the others those of `OWN_FILES`."""

# --- Edits of a saved home ----------------------------------------------------------------------------------------------------------

OWN_FILES = (
    "artifacts/records/*/latest.json",
    "artifacts/decisions/20*.json",
    "artifacts/snapshots/*",
    "artifacts/challengers/*",
    "artifacts/predictions/*",
    "models/*.json*",
    "models/*/*",
)
"""Files that a retrain writes for its own steps, or reads as the registry; in every case they are edited."""


def find_edits(saved: Files, name: str, most: int, turn: int) -> list[Edit]:
    """Returns at most so many edits of a file, spread over its values, and those of somebody who knows what the file is for."""
    chosen = list(edits_of(name, saved[name], thorough=False))
    step = max(1, len(chosen) // most)
    return [*chosen[turn % step :: step][:most], *_known_edits(saved, name, most, turn)]


def _known_edits(saved: Files, name: str, most: int, turn: int) -> Iterator[Edit]:
    content = saved[name]
    if fnmatch(name, "artifacts/predictions/*.parquet") and not name.endswith(".recent.parquet"):
        true = pq.read_table(pa.BufferReader(content))["true"].to_pandas()
        yield Edit("every prediction is right", lambda: with_column("parquet", content, "predicted", true))
    if fnmatch(name, "artifacts/decisions/20*.json") or name == "artifacts/records/promotion_decision/latest.json":
        for edit in [*find_edits({"x.json": content}, "x.json", most, turn), Edit("every gate passes", lambda: _forged(content))]:
            yield Edit(f"{edit.what}, sealed again", lambda edit=edit: _sealed_if_valid(edit.content), is_sealed=True)
    if fnmatch(name, "artifacts/records/*/latest.json"):  # anchors would be too old to count
        yield from (edit for edit in edits_of(name, content) if edit.what == "as_of: another text")
    if name.endswith("part-000.parquet"):
        folder = name.split("/")[2]
        for path in [path for path in saved if fnmatch(path, f"artifacts/predictions/{folder}/*.parquet") and "recent" not in path]:
            yield Edit(f"labels as predicted by {Path(path).stem}", partial(_labels_as_predicted, content, saved[path]))


def _forged(content: bytes) -> bytes:
    """The decision with every gate passed, each with a value that passes, and the verdict that follows."""
    document = json.loads(content)
    gates = [
        gate if gate["status"] == "NOT_APPLICABLE" else {**gate, "status": "PASS", "observed": gate["threshold"]}
        for gate in document["gates"]
    ]
    return dumped({**document, "gates": gates, "verdict": "PROMOTE", "reason": "All gates passed."})


def _sealed_if_valid(content: bytes) -> bytes:
    """A decision with the hash and the id of its contents; as it is if it is none."""
    with suppress(ValidationError):
        return dumped(seal(PromotionDecision.model_validate_json(content)).model_dump(mode="json"))
    return content


def _labels_as_predicted(content: bytes, predictions: bytes) -> bytes:
    """A snapshot with the labels that a model predicted for the test windows."""
    rows, said = (pq.read_table(pa.BufferReader(file)).to_pandas() for file in (content, predictions))
    keys = ["user_id", "bucket_start_ts"]
    found = rows[keys].astype({"user_id": str}).merge(said.astype({"user_id": str}), how="left", on=keys)["predicted"]
    names = found.map(dict(enumerate(LABELS)))  # none where a window was rejected
    return with_column("parquet", content, "label", rows["label"].astype(str).where(names.isna(), names))


def sweep_over(sweep: Sweep, turn: int) -> list[Result]:
    """Edits the files of a home before each step but the first, from the last step on."""
    results = []
    for number in range(len(STEPS) - 1, 0, -1):
        saved = sweep.saved[number]
        for name in saved:
            if sweep.case in EVERY_FILE or any(fnmatch(name, pattern) for pattern in OWN_FILES):
                results += [sweep.edit(number, name, edit) for edit in find_edits(saved, name, 1, turn + number)]
    return results


def count(results: list[Result]) -> str:
    """The number of edits by step and by what came of them, as a table."""
    lines = [f"{len(results)} edits of {len({result.file for result in results})} files"]
    for came, number in Counter(result.came for result in results).most_common():
        steps = Counter(result.before for result in results if result.came == came)
        lines.append(f"{number:6} {came}: {', '.join(f'{steps[step]} before {step}' for step in STEPS if steps[step])}")
    if not any(result.came == SAME for result in results):
        return "\n".join(lines)
    without = {result.file for result in results} - {result.file for result in results if result.came != SAME}
    return "\n".join([*lines, "No edit of these made a difference:", *sorted(without)])


# --- Tests ------------------------------------------------------------------------------------------------------------------------


class Homes(NamedTuple):
    """The files of two homes: with labels and no model, and the same a day later with a model that was promoted and new labels."""

    without_model: Files
    with_model: Files


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    home = learnable_home(tmp_path_factory.mktemp("edited"), users=1, days=6)
    without_model = read_files(home.root)
    list(StepByStep(home, SMALL, FIRST, "first").run_all())
    add_learnable_days(home, users=1)
    return Homes(without_model, read_files(home.root))


@pytest.fixture(scope="module")
def sweeps(homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sweep]:
    @cache
    def make(case: str) -> Sweep:
        files = homes.without_model if case == "has no champion" else homes.with_model
        return Sweep(case, Home(tmp_path_factory.mktemp("swept") / "home"), files)

    return make


@pytest.fixture(scope="module")
def swept(sweeps: Callable[[str], Sweep]) -> Callable[[str], list[Result]]:
    return cache(lambda case: sweep_over(sweeps(case), list(CASES).index(case)))


def wrong(results: list[Result]) -> list[Result]:
    return [result for result in results if result.came in (WRONG, FAILED)]


SAMPLE = {
    "dataset_snapshot": "artifacts/records/labeled_windows/latest.json",
    "challenger_model": "artifacts/records/dataset_snapshot/latest.json",
    "challenger_report": "artifacts/challengers/*/model.txt",
    "champion_report": "artifacts/snapshots/*/windows/part-000.parquet",
    "promotion_decision": "artifacts/records/challenger_report/latest.json",
    "active_pointer": "artifacts/records/promotion_decision/latest.json",
}
"""A file for each step, edited before it, in what `make test` runs."""


@pytest.mark.parametrize("case", ["fails a gate", "is worse than an anchor"])
def test_one_file_edited_before_each_step_promotes_nothing_that_a_clean_run_would_not(sweeps: Callable[[str], Sweep], case: str) -> None:
    sweep, results = sweeps(case), []
    assert (sweep.clean.detail, sweep.clean.promoted) == ("REJECT", ())
    for step, pattern in SAMPLE.items():
        saved = sweep.saved[STEPS.index(step)]
        name = max(name for name in saved if fnmatch(name, pattern))
        results += [sweep.edit(STEPS.index(step), name, edit) for edit in find_edits(saved, name, 2, 0)]
    assert wrong(results) == []
    assert {result.before for result in results} == set(SAMPLE)


IN_MAKE_TEST_FAULTS = pytest.mark.skipif(not EVERYTHING, reason="minutes: `make test-faults` runs it")
QUICK = ("has no champion",)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case if case in QUICK else pytest.param(case, marks=IN_MAKE_TEST_FAULTS) for case in CASES])
def test_files_edited_before_each_step_promote_nothing_that_a_clean_run_would_not(
    sweeps: Callable[[str], Sweep], swept: Callable[[str], list[Result]], case: str
) -> None:
    clean, results = sweeps(case).clean, swept(case)
    verdict = CASES[case][1]
    assert (clean.kind, clean.detail, len(clean.promoted)) == ("ended", verdict, int(verdict == "PROMOTE"))
    print(f"\n{case}: {count(results)}")  # noqa: T201  # the result of the sweep
    assert wrong(results) == []
    if case in EVERY_FILE:
        saved = sweeps(case).saved
        assert {(result.before, result.file) for result in results} == {(STEPS[i], name) for i in range(1, len(STEPS)) for name in saved[i]}
