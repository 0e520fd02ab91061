"""Every file of a home edited between every two steps of a retrain: nothing is promoted that a clean run would not have promoted.

A clean run saves the home after each step. An edit changes one value of one file of a saved home; the steps that remain are run on it. Where
a step leaves the clean home with the same edit in it, the rest is that of the edit one step later, and is not run twice.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.decision import PromotionDecision, seal
from taskclf_dagster.domain.models.bundle_files import ENCODERS, MODEL
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.cycle.step_by_step import STEPS, Files, StepByStep, read_files, write_files
from taskclf_dagster_tests.file_edits import Edit, dumped, edits_of, with_column
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, retrain_config

FIRST, SECOND = AS_OF + timedelta(hours=1), AS_OF + DAY + timedelta(hours=1)

OPEN = {f"min_{name}": 0.0 for name in ("macro_f1", "weighted_f1", "class_precision", "breakidle_precision", "breakidle_recall")}
SMALL = retrain_config(
    auto_promote=True,
    min_class_windows=10,
    min_windows=50,
    max_negative_flips=1.0,
    max_flip_excess=1.0,
    prove_reproducible=False,
    train_params={"num_boost_round": 3, "num_leaves": 8},
    gates={**OPEN, "min_reject_rate": 0.0, "max_reject_rate": 1.0},
    require_baseline_improvement=False,
)
WORSE = SMALL.with_changes(train_params={"num_boost_round": 1, "num_leaves": 2})
"""A challenger of one split, which is worse than the champion."""

CASES: dict[str, tuple[RetrainConfig, str]] = {
    "promotes": (SMALL, "PROMOTE"),
    "fails a gate": (SMALL.with_changes(gates={"min_macro_f1": 0.999}), "REJECT"),
    "is worse than the champion": (WORSE, "REJECT"),
    "is worse than an anchor": (WORSE.with_changes(regression_tolerance=1.0, clearly_worse_margin=1.0, anchor_tolerance=0.0), "REJECT"),
    "has no champion": (SMALL.with_changes(prove_reproducible=True), "PROMOTE"),
}
"""What the challenger of a clean run is like: the configuration, and the verdict."""

EVERY_FILE = ("promotes", "fails a gate")
"""The cases in which every file of the home is edited before every step; in the others only those that are edited `CLOSELY`."""

INPUTS = ("models/*",)
"""Files that are input of `champion_report`, which finds the champion: until then an edit of them changes what a clean run does."""


class Promoted(NamedTuple):
    """What was promoted.

    Attributes:
        model: hash of everything that predictions follow from: trees, encoders and the reject threshold in force.
        bundle: hash of every file of the bundle but its manifest.
    """

    model: str
    bundle: str


class Outcome(NamedTuple):
    """The end of an edited run.

    Attributes:
        kind: refused, failed (an error that is not one of ours), skipped or ended.
        detail: the step and the error, or the verdict.
        promoted: the bundles that are in models/ and were not before.
        active: the folder of the active model.
    """

    kind: str
    detail: str
    promoted: tuple[Promoted, ...]
    active: str | None


class Result(NamedTuple):
    """One edit, and what came of it.

    Attributes:
        before: the step before which the file was edited.
        file: its path in the home.
        what: the edit.
        came: the number under which it counts; WRONG and FAILED must not occur.
        detail: of the outcome.
    """

    before: str
    file: str
    what: str
    came: str
    detail: str


REFUSED, SKIPPED, NOTHING = "refused with an error", "skipped", "ended without a promotion"
SAME, DESCRIBED = "promoted as in a clean run", "promoted the same model with another description"
AS_CLEAN = "as a clean run on the edited registry"
WRONG, FAILED = "promoted something else", "failed with an error that is not one of ours"


@dataclass
class Sweep:
    """Clean runs of one case, saved after each step, and edited runs from each of them on."""

    case: str
    home: Home
    start: Files
    ended: dict[tuple[int, str], Outcome] = field(default_factory=dict)
    steps_run: int = 0

    @cached_property
    def retrain(self) -> StepByStep:
        return StepByStep(self.home, CASES[self.case][0], SECOND)

    @cached_property
    def saved(self) -> list[Files]:
        """The home before the first step and after each."""
        write_files(self.home.root, self.start)
        return list(self.retrain.run_all())

    @cached_property
    def clean(self) -> Outcome:
        return self.end_of(0, self.start)

    @cached_property
    def active_before(self) -> str | None:
        return self._active_of(self.start)

    def end_of(self, number: int, files: Files) -> Outcome:
        """Runs the steps from this one on, unless the same home was run on before."""
        passed: list[tuple[int, str]] = []
        write_files(self.home.root, files)
        outcome = None
        while outcome is None:
            key = number, _digest(files)
            passed.append(key)
            outcome = self.ended.get(key)
            if outcome is None and number == len(STEPS):
                outcome = self._describe("ended", self._verdict(), files)
            elif outcome is None:
                outcome, files = self._go_on(STEPS[number])
                number += 1
        self.ended.update(dict.fromkeys(passed, outcome))
        return outcome

    def _go_on(self, step: str) -> tuple[Outcome | None, Files]:
        self.steps_run += 1
        kind, detail = "", ""
        try:
            if not self.retrain.run(step) and step != STEPS[-1]:
                kind, detail = "skipped", step
        except TaskclfDagsterError as error:
            kind, detail = "refused", f"{step}: {type(error).__name__}"
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the result
            kind, detail = "failed", f"{step}: {type(error).__name__}: {str(error)[:200]}"
        files = read_files(self.home.root)
        return (self._describe(kind, detail, files) if kind else None), files

    def _verdict(self) -> str:
        path = self.home.records / "promotion_decision" / "latest.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["verdict"])

    def _describe(self, kind: str, detail: str, files: Files) -> Outcome:
        return Outcome(kind, detail, tuple(self._find_promoted(files)), read_registry_state(self.home).active_model_dir)

    def _find_promoted(self, files: Files) -> Iterator[Promoted]:
        bundles = defaultdict(dict)
        for name, content in files.items():
            folder, _, file = name.removeprefix("models/").partition("/")
            if name.startswith("models/") and file and not folder.startswith(".") and not any(n.startswith(f"models/{folder}/") for n in self.start):
                bundles[folder][file] = content
        policy = json.loads(files["models/inference_policy.json"]) if bundles else {}
        for bundle in bundles.values():
            model = {name: bundle.get(name, b"") for name in (MODEL, ENCODERS)}
            threshold = {"threshold": str(policy["reject_threshold"]).encode()}
            yield Promoted(_digest(model | threshold), _digest({name: bundle[name] for name in bundle if name != "MANIFEST.json"}))

    def edit(self, number: int, name: str, edit: Edit) -> Result:
        """Edits a file of the home as it was saved before a step, and runs the rest."""
        files = self.saved[number]
        outcome = self.end_of(number, {**files, name: edit.content})
        came = self._judge(number, name, edit, outcome)
        return Result(STEPS[number], name, edit.what, came, outcome.detail)

    def _judge(self, number: int, name: str, edit: Edit, outcome: Outcome) -> str:
        if outcome.kind == "failed":
            return FAILED
        clean = self.clean
        known = {promoted.model for promoted in clean.promoted}
        if any(promoted.model not in known for promoted in outcome.promoted) or not self._is_active_right(name, edit, outcome):
            return self._judge_by_edited_input(number, name, edit, outcome)
        if outcome.promoted:
            return SAME if outcome.promoted == clean.promoted else DESCRIBED
        return {"refused": REFUSED, "skipped": SKIPPED}.get(outcome.kind, NOTHING)

    def _is_active_right(self, name: str, edit: Edit, outcome: Outcome) -> bool:
        """True if the active model is the one before, the promoted one, or what the edited file itself says."""
        if outcome.active == self.active_before or outcome.promoted:
            return True
        return name.startswith("models/") and outcome.active == self._active_of({**self.start, name: edit.content})

    def _active_of(self, files: Files) -> str | None:
        write_files(self.home.root, files)
        return read_registry_state(self.home).active_model_dir

    def _judge_by_edited_input(self, number: int, name: str, edit: Edit, outcome: Outcome) -> str:
        """Until the champion was found, the registry is input: the same edit before the first step must lead to the same."""
        is_input = any(fnmatch(name, pattern) for pattern in INPUTS) and number <= STEPS.index("champion_report")
        if not is_input or self.start.get(name) != self.saved[number].get(name):
            return WRONG
        clean = self.end_of(0, {**self.start, name: edit.content})
        return AS_CLEAN if (clean.promoted, clean.active) == (outcome.promoted, outcome.active) else WRONG


def _digest(files: Files) -> str:
    digest = hashlib.blake2b()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode())
        digest.update(files[name])
    return digest.hexdigest()


# --- Edits of a saved home ----------------------------------------------------------------------------------------------------------

CLOSELY = (
    "artifacts/records/*/latest.json",
    "artifacts/decisions/20*.json",
    "artifacts/snapshots/*",
    "artifacts/challengers/*",
    "artifacts/predictions/*",
    "models/*.json*",
    "models/*/*",
)
"""Files of which more than one value is edited."""


def find_edits(saved: Files, name: str, most: int, turn: int) -> list[Edit]:
    """Returns at most so many edits of a file, spread over its values, and those that somebody would make who knows what the file is for."""
    chosen = list(edits_of(name, saved[name], thorough=False))
    step = max(1, len(chosen) // most)
    return [*chosen[turn % step :: step][:most], *(_known_edits(saved, name, most, turn) if most > 1 else ())]


def _known_edits(saved: Files, name: str, most: int, turn: int) -> Iterator[Edit]:
    if fnmatch(name, "artifacts/predictions/*.parquet") and not name.endswith(".recent.parquet"):
        true = pq.read_table(pa.BufferReader(saved[name]))["true"].to_pandas()
        yield Edit("every prediction is right", with_column("parquet", saved[name], "predicted", true))
    if fnmatch(name, "artifacts/decisions/20*.json") or name == "artifacts/records/promotion_decision/latest.json":
        document = json.loads(saved[name])
        for what, content in [*find_edits({"x.json": saved[name]}, "x.json", most, turn), forged(document)]:
            try:
                yield Edit(f"{what}, sealed again", dumped(seal(PromotionDecision.model_validate_json(content)).model_dump(mode="json")))
            except ValidationError:
                continue
    if name.endswith("windows.parquet"):
        yield from _labels_as_predicted(saved, name)


def forged(document: dict[str, object]) -> Edit:
    """The decision with every gate passed, each with a value that passes, and the verdict that follows."""
    gates = [
        gate if gate["status"] == "NOT_APPLICABLE" else {**gate, "status": "PASS", "observed": gate["threshold"]}
        for gate in document["gates"]  # type: ignore[attr-defined]
    ]
    return Edit("every gate passes", dumped({**document, "gates": gates, "verdict": "PROMOTE", "reason": "All gates passed."}))


def _labels_as_predicted(saved: Files, name: str) -> Iterator[Edit]:
    """Yields a snapshot with the labels that a model predicted, for each model that predicted its test windows."""
    rows = pq.read_table(pa.BufferReader(saved[name])).to_pandas()
    for path in [path for path in saved if fnmatch(path, f"artifacts/predictions/{name.split('/')[2]}/*.parquet") and "recent" not in path]:
        said = pq.read_table(pa.BufferReader(saved[path])).to_pandas()
        keys = ["user_id", "bucket_start_ts"]
        found = rows[keys].astype({"user_id": str}).merge(said.astype({"user_id": str}), how="left", on=keys)["predicted"]
        names = found.map(dict(enumerate(LABELS)))  # none where a window was rejected
        labels = rows["label"].astype(str).where(names.isna(), names)
        yield Edit(f"labels as predicted by {Path(path).stem}", with_column("parquet", saved[name], "label", labels))


def sweep_over(sweep: Sweep, turn: int) -> list[Result]:
    """Edits the files of a home before each step but the first, from the last step on."""
    results = []
    for number in range(len(STEPS) - 1, 0, -1):
        saved = sweep.saved[number]
        for name in saved:
            closely = any(fnmatch(name, pattern) for pattern in CLOSELY)
            if closely or sweep.case in EVERY_FILE:
                results += [sweep.edit(number, name, edit) for edit in find_edits(saved, name, 2 if closely else 1, turn + number)]
    return results


def count(results: list[Result]) -> str:
    """The number of edits by step and by what came of them, as a table."""
    lines = [f"{len(results)} edits of {len({result.file for result in results})} files"]
    for came, number in Counter(result.came for result in results).most_common():
        steps = Counter(result.before for result in results if result.came == came)
        lines.append(f"{number:6} {came}: {', '.join(f'{steps[step]} before {step}' for step in STEPS if steps[step])}")
    return "\n".join(lines)


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
    "champion_report": "artifacts/snapshots/*/windows.parquet",
    "promotion_decision": "artifacts/records/challenger_report/latest.json",
    "active_pointer": "artifacts/records/promotion_decision/latest.json",
}
"""A file for each step, edited before it, in what `make test` runs."""


def test_one_file_edited_before_each_step_promotes_nothing_that_a_clean_run_would_not(sweeps: Callable[[str], Sweep]) -> None:
    sweep, results = sweeps("fails a gate"), []
    assert (sweep.clean.detail, sweep.clean.promoted) == ("REJECT", ())
    for step, pattern in SAMPLE.items():
        saved = sweep.saved[STEPS.index(step)]
        name = max(name for name in saved if fnmatch(name, pattern))
        results += [sweep.edit(STEPS.index(step), name, edit) for edit in find_edits(saved, name, 2, 0)]
    assert wrong(results) == []
    assert {result.before for result in results} == set(SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_files_edited_before_each_step_promote_nothing_that_a_clean_run_would_not(
    sweeps: Callable[[str], Sweep], swept: Callable[[str], list[Result]], case: str
) -> None:
    clean, results = sweeps(case).clean, swept(case)
    verdict = CASES[case][1]
    assert (clean.kind, clean.detail, len(clean.promoted)) == ("ended", verdict, int(verdict == "PROMOTE"))
    [print(r) for r in results if r.came in (DESCRIBED, AS_CLEAN, WRONG, FAILED)]
    print(f"\n{case}: {count(results)}")  # noqa: T201  # the result of the sweep
    assert wrong(results) == []
