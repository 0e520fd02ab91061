"""The parts of a decision receipt that refer to what was judged: dataset, models, registry, and the options of the run.

Each names the files it refers to by hash, so that a later change of them is found.
"""

from typing import Literal

from pydantic import AwareDatetime

from taskclf_dagster.domain.data.feasibility import Feasibility
from taskclf_dagster.domain.storage.path_names import FileName, InnerPath
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import rounded

ChampionState = Literal["ok", "none", "unreadable", "incompatible"]


ChampionSource = Literal["policy", "pointer", "last_known_good", "best_by_rank", "none"]


class AppliedThreshold(Record):
    """The reject threshold that taskclf applies to a model, with which the model is judged.

    Attributes:
        value: the threshold [0 to 1].
        origin: policy if inference_policy.json names the model; recorded_policy if the history has one that a repair restores; default if
            there is neither, so that taskclf applies its own default.
    """

    value: float
    origin: Literal["policy", "recorded_policy", "default"]

    @property
    def summary(self) -> str:
        """The threshold and where it comes from, for a person."""
        origins = {
            "policy": "of the inference policy",
            "recorded_policy": "of the recorded policy",
            "default": "taskclf's default, because no inference policy names the model",
        }
        return f"{rounded(self.value)}, {origins[self.origin]}"


class AppliedCalibration(Record):
    """The calibrators that taskclf applies to a model's probabilities before it rejects; the threshold belongs to what they give.

    Attributes:
        path: the calibrator store, relative to the home.
        method: how they were fitted: temperature or isotonic.
        sha256: over names and bytes of the files of the store.
    """

    path: InnerPath
    method: str
    sha256: str


class RunOptions(Record):
    """The options that a retrain was launched with.

    Attributes:
        dry_run: decides, and changes nothing.
        forced: trains although no label is new.
        bootstrap: lets the candidate gates alone decide if a champion exists that cannot be compared with.
    """

    dry_run: bool
    forced: bool
    bootstrap: bool


class DatasetRef(Record):
    """The dataset snapshot that both models were judged on.

    Attributes:
        dataset_hash: first 16 hex digits of the digest.
        digest: SHA-256 over the snapshot's values.
        path: the snapshot, relative to the home.
        split: number of windows of each part of the split.
        label_watermark: names the content of the label store that the run read.
        labels_until: start of the newest labeled window; None without one.
        holdout_users: users that were held out of training; empty in receipts that are older than this field.
    """

    dataset_hash: str
    digest: str
    path: InnerPath
    split: dict[str, int]
    label_watermark: str
    labels_until: AwareDatetime | None
    feasibility: Feasibility
    holdout_users: tuple[str, ...] = ()


class ModelRef(Record):
    """A model as it was judged.

    Attributes:
        files: SHA-256 of every file of the bundle.
        report_hash: hash of its report record.
        macro_f1, weighted_f1: on the test windows [0 to 1, higher is better]; None if undefined or not evaluated.
    """

    model_id: FileName
    files: dict[str, str]
    report_hash: str
    macro_f1: float | None
    weighted_f1: float | None


class ChampionRef(Record):
    """The champion as it was found and judged.

    Attributes:
        state: ok if it could be evaluated; none if there is none.
        source: how it was found: named by the inference policy or the active pointer, last known good, or best by rank.
        reason: why it is in this state.
        model: the champion; None unless it was evaluated.
        model_dir: its bundle, relative to the home; None if there is none.
        warnings: what was unusual about finding it.
        threshold: the reject threshold that it was judged with; None if there is none, or in receipts of 0.2.
        calibration: the calibrators that it was judged with; None for none, and in receipts that are older than this field.
    """

    state: ChampionState
    source: ChampionSource
    reason: str
    model: ModelRef | None
    model_dir: str | None
    warnings: list[str]
    threshold: AppliedThreshold | None = None
    calibration: AppliedCalibration | None = None


class RegistryRef(Record):
    """The registry as it was when the champion was found; a promotion is refused if it has changed since.

    Attributes:
        sequence: number of the history record that had set the pointer; 0 if none of ours had.
        pointer_hash: SHA-256 of active.json; None without that file.
        policy_hash: SHA-256 of inference_policy.json; None without that file.
        previous_policy: the inference policy in force: its calibrators and thresholds of users belong to the champion. None without one.
        history_damaged: True if a part of the history could not be read, so that models that ran or were rolled back may be unknown.
    """

    sequence: int
    pointer_hash: str | None
    policy_hash: str | None
    previous_policy: dict[str, object] | None
    history_damaged: bool = False
