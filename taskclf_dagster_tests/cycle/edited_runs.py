"""Clean runs of a retrain that are saved after each step, and runs that go on from a saved home in which one file was edited.

Where a step leaves the clean home with the same edit in it, the rest is that of the edit one step later, and is not run twice.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from typing import NamedTuple

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.models.bundle_files import ENCODERS, MODEL
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.cycle.stages import SECOND
from taskclf_dagster_tests.cycle.step_by_step import STEPS, Files, StepByStep, read_files, write_files
from taskclf_dagster_tests.file_edits import Edit
from taskclf_dagster_tests.scenario import retrain_config

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
WORSE = SMALL.with_changes(
    train_params={"num_boost_round": 6, "num_leaves": 31, "learning_rate": 1.0}, clearly_worse_margin=1.0, anchor_tolerance=1.0
)
"""A challenger that learned by heart, and passes every gate but those that compare it with another model."""

CASES: dict[str, tuple[RetrainConfig, str]] = {
    "promotes": (SMALL, "PROMOTE"),
    "fails a gate": (SMALL.with_changes(gates={"min_macro_f1": 0.999}), "REJECT"),
    "is worse than the champion": (WORSE, "REJECT"),
    "is worse than an anchor": (WORSE.with_changes(regression_tolerance=1.0, anchor_tolerance=0.0), "REJECT"),
    "has no champion": (SMALL.with_changes(prove_reproducible=True), "PROMOTE"),
}
"""The configuration and the verdict of the clean run of each case."""

HISTORY = "models/active_history.jsonl"
INPUTS = ("models/*",)
"""Files that are input of `champion_report`, which finds the champion: until then an edit of them changes what a clean run does."""


class Promoted(NamedTuple):
    """One promoted bundle.

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
        kind, detail = "", ""
        try:
            if not self.retrain.run(step) and step != STEPS[-1]:
                kind, detail = "skipped", step
        except TaskclfDagsterError as error:
            kind, detail = "refused", f"{step}: {type(error).__name__}"
        except Exception as error:  # whatever it is, it is the result
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
            if (
                name.startswith("models/")
                and file
                and not folder.startswith(".")
                and not any(n.startswith(f"models/{folder}/") for n in self.start)
            ):
                bundles[folder][file] = content
        policy = json.loads(files["models/inference_policy.json"]) if bundles else {}
        for bundle in bundles.values():
            model = {name: bundle.get(name, b"") for name in (MODEL, ENCODERS)}
            threshold = {"threshold": str(policy["reject_threshold"]).encode()}
            yield Promoted(_digest(model | threshold), _digest({name: bundle[name] for name in bundle if name != "MANIFEST.json"}))

    def edit(self, number: int, name: str, edit: Edit) -> Result:
        """Edits a file of the home as it was saved before a step, and runs the rest."""
        files = self.saved[number]
        content = edit.content
        outcome = self.end_of(number, {**files, name: content})
        came = self._judge(number, name, content, outcome, is_sealed=edit.is_sealed)
        return Result(STEPS[number], name, edit.what, came, outcome.detail)

    def _judge(self, number: int, name: str, content: bytes, outcome: Outcome, *, is_sealed: bool) -> str:
        if outcome.kind == "failed":
            return FAILED
        clean = self.clean
        known = {promoted.model for promoted in clean.promoted}
        if any(promoted.model not in known for promoted in outcome.promoted) or not self._is_active_right(name, content, outcome):
            may_be_input = is_sealed or name != HISTORY  # an edit of the history is noticed unless its line has a checksum that fits
            return self._judge_by_edited_input(number, name, content, outcome) if may_be_input else WRONG
        if outcome.promoted:
            return SAME if outcome.promoted == clean.promoted else DESCRIBED
        return {"refused": REFUSED, "skipped": SKIPPED}.get(outcome.kind, NOTHING)

    def _is_active_right(self, name: str, content: bytes, outcome: Outcome) -> bool:
        """True if the active model is the one before, the promoted one, or what the edited file itself says."""
        if outcome.active == self.active_before or outcome.promoted:
            return True
        return name.startswith("models/") and outcome.active == self._active_of({**self.start, name: content})

    def _active_of(self, files: Files) -> str | None:
        write_files(self.home.root, files)
        return read_registry_state(self.home).active_model_dir

    def _judge_by_edited_input(self, number: int, name: str, content: bytes, outcome: Outcome) -> str:
        """Until the champion was found, the registry is input: the same edit before the first step must lead to the same."""
        is_input = any(fnmatch(name, pattern) for pattern in INPUTS) and number <= STEPS.index("champion_report")
        if not is_input or self.start.get(name) != self.saved[number].get(name):
            return WRONG
        clean = self.end_of(0, {**self.start, name: content})
        return AS_CLEAN if (clean.promoted, clean.active) == (outcome.promoted, outcome.active) else WRONG


def _digest(files: Files) -> str:
    digest = hashlib.blake2b()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode())
        digest.update(files[name])
    return digest.hexdigest()
