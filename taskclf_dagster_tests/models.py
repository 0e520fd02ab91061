"""Small named models for the tests: tiny trained bundles, damage done to them, reports with chosen figures, sealed decisions.

Bundles are real: trained once by `train_challenger`, written once by `write_bundle`, then copied to where a test wants them. A test
changes the one thing it is about.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feasibility import Feasibility
from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS, SchemaVersion
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import build_snapshot
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES, configured_threshold
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES, check_regression_gates
from taskclf_dagster.domain.decision.decision import RECEIPT_VERSION, DecisionContent, PromotionDecision, seal
from taskclf_dagster.domain.decision.decision_store import find_replaced
from taskclf_dagster.domain.decision.gate import RegressionGate, Status
from taskclf_dagster.domain.decision.references import ChampionRef, DatasetRef, ModelRef, RegistryRef, RunOptions
from taskclf_dagster.domain.decision.verdict import decide
from taskclf_dagster.domain.evaluation.block_counts import count_flips, sum_blocks
from taskclf_dagster.domain.evaluation.comparison import Comparison, complete_comparison
from taskclf_dagster.domain.evaluation.leakage import Exclusion, LeakageReport
from taskclf_dagster.domain.evaluation.metrics import ClassScore, EvaluationReport, UserScore
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.slices import sum_slices
from taskclf_dagster.domain.models.bundle_files import METADATA, METRICS, MODEL, bundle_hashes
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.bundle_writer import write_bundle
from taskclf_dagster.domain.models.choice import present_choice
from taskclf_dagster.domain.models.reproducibility import Reproduction
from taskclf_dagster.domain.models.training import TrainedModel, train_challenger
from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import AS_OF, at, learnable_home, retrain_config

AT = datetime(2026, 2, 5, 12, 30, tzinfo=UTC)
"""When a promotion of these tests happens."""

NO_CHAMPION = "no model was ever promoted"
OLD, MID, NEW = "2026-01-10_060000_run-0001", "2026-01-20_060000_run-0002", "2026-02-04_000000_run-0003"
"""Model ids: two that were promoted before, and the challenger."""

CONTRACT_METADATA = {
    "schema_version",
    "schema_hash",
    "label_set",
    "train_date_from",
    "train_date_to",
    "params",
    "git_commit",
    "dataset_hash",
    "reject_threshold",
    "data_provenance",
    "created_at",
    "unknown_category_freq_threshold",
    "unknown_category_mask_rate",
}
"""Keys of metadata.json in contract section 7."""

GIVEN_METADATA = {
    "dataset_hash": "0a963156a3de73d5",
    "data_provenance": "real",
    "created_at": "2026-02-04T00:00:00+00:00",
    "git_commit": "0123456",
}
"""What the contract asks for and the model does not know itself."""


# --- Tiny bundles ---------------------------------------------------------------------------------------------------------------


@cache
def snapshot_rows(version: SchemaVersion = "v1") -> pd.DataFrame:
    """All rows of a snapshot of two users and four days; v3 are those of v1 with empty titles. Not to be changed in place."""
    if version == "v3":
        rows, present = snapshot_rows("v1"), set(snapshot_rows("v1").columns)
        titles = [column for column in SCHEMAS["v3"].model_inputs if column not in present]
        return pd.concat([rows, pd.DataFrame(0.0, index=rows.index, columns=titles)], axis=1)
    config = retrain_config(schema_version=version)
    with tempfile.TemporaryDirectory() as folder:
        home = learnable_home(Path(folder), users=1 if version == "v2" else 2, days=4, version=version)
        labeled, frame, *_ = label_windows(home, as_of=AS_OF, settings=config.dataset)
        return build_snapshot(home, labeled, frame, config=config)[1]


def rows_of(split: str, version: SchemaVersion = "v1") -> pd.DataFrame:
    """The rows of one split, numbered from 0."""
    rows = snapshot_rows(version)
    return rows[rows["split"] == split].reset_index(drop=True)


@cache
def tiny_model(version: SchemaVersion = "v1") -> TrainedModel:
    """Three rounds of four leaves, in memory."""
    config = retrain_config(train_params={"num_boost_round": 3, "num_leaves": 4}, refit=False)
    return train_challenger(
        lambda part: rows_of("train" if part == "first_fit" else part, version),
        SCHEMAS[version],
        settings=config.training,
        choice=present_choice(config.train_params),
        dataset_digest="0123456789abcdef" * 4,
        num_threads=1,
        on_progress=lambda _: None,
    )


@cache
def _bundle_files(version: SchemaVersion) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NEW
        write_bundle(path, tiny_model(version), rows_of("train", version), metadata=GIVEN_METADATA)
        return {file.name: file.read_bytes() for file in path.iterdir()}


def write_tiny_bundle(
    folder: Path,
    *,
    version: SchemaVersion = "v1",
    metadata: Mapping[str, object] | None = None,
    metrics: Mapping[str, object] | None = None,
) -> Path:
    """A whole bundle in a new folder, with some keys of metadata.json and metrics.json replaced."""
    folder.mkdir(parents=True)
    for name, content in _bundle_files(version).items():
        (folder / name).write_bytes(content)
    edit_json(folder / METADATA, {"model_id": folder.name, **(metadata or {})})
    edit_json(folder / METRICS, metrics or {})
    return folder


def edit_json(path: Path, changes: Mapping[str, object], *, without: str | None = None) -> None:
    """Replaces some keys of a JSON object and leaves one out; NaN and Infinity are written as Python's json writes them."""
    document = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    document.pop(without, None)
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


# --- Damage -----------------------------------------------------------------------------------------------------------------------


def change_a_leaf(folder: Path) -> None:
    """One digit of one leaf of model.txt becomes another: still a whole model, but not the one that was trained."""
    text = (folder / MODEL).read_text(encoding="utf-8")
    (folder / MODEL).write_text(with_a_leaf_changed(text), encoding="utf-8")


def with_a_leaf_changed(text: str) -> str:
    """The text of a model with another digit in one leaf."""
    at = text.index("leaf_value=") + len("leaf_value=")
    while text[at] not in "12345678":
        at += 1
    return text[:at] + str(int(text[at]) + 1) + text[at + 1 :]


# --- A home with models -----------------------------------------------------------------------------------------------------------


def pointer_to(model_id: str, **changes: object) -> dict[str, object]:
    """The content of an active.json as taskclf writes it."""
    return {
        "model_dir": f"models/{model_id}",
        "selected_at": "2026-01-20T06:00:00+00:00",
        "policy_version": 1,
        "model_id": model_id,
        "reason": {"metric": "macro_f1", "macro_f1": 0.7324, "weighted_f1": 0.7293, "note": "retrain promotion"},
        **changes,
    }


def point_at(home: Home, model_id: str, **changes: object) -> None:
    """Writes active.json."""
    home.models.mkdir(parents=True, exist_ok=True)
    home.active_pointer.write_text(json.dumps(pointer_to(model_id, **changes), indent=2) + "\n", encoding="utf-8")


def write_history(home: Home, *model_ids: str) -> None:
    """Writes active_history.jsonl as taskclf does: one line a change, the oldest first."""
    home.models.mkdir(parents=True, exist_ok=True)
    pointers = [None, *(pointer_to(model_id) for model_id in model_ids)]
    lines = [json.dumps({"at": new["selected_at"], "old": old, "new": new}, separators=(",", ":")) for old, new in pairwise(pointers)]
    home.active_history.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_policy(home: Home, model_id: str, **changes: object) -> dict[str, object]:
    """Writes inference_policy.json with a calibrator store and per-user thresholds, as taskclf does after tuning."""
    document = {
        "policy_version": "v1",
        "model_dir": f"models/{model_id}",
        "model_schema_hash": "4077fe0dba70",
        "model_label_set": list(LABELS),
        "calibrator_store_dir": "artifacts/calibrator_store",
        "calibration_method": "temperature",
        "reject_threshold": 0.6,
        "per_user_reject_thresholds": {"user-0": 0.7},
        "created_at": "2026-01-21T06:00:00+00:00",
        "source": "tune-reject",
        "git_commit": "unknown",
        **changes,
    }
    home.models.mkdir(parents=True, exist_ok=True)
    home.inference_policy.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if document["calibrator_store_dir"] == "artifacts/calibrator_store":
        home.calibrator_store.parent.mkdir(parents=True, exist_ok=True)
        store = {"method": "temperature", "user_count": 0, "user_ids": [], "model_bundle_id": model_id}
        home.calibrator_store.write_text(json.dumps(store), encoding="utf-8")
        (home.calibrator_store.parent / "global.json").write_text('{"type": "identity"}', encoding="utf-8")
    return document


def write_tuned_policy(home: Home, model_id: str, **changes: object) -> None:
    """Writes inference_policy.json with the threshold that was tuned for the tiny bundles, without calibrators."""
    plain = {"calibrator_store_dir": None, "calibration_method": None, "per_user_reject_thresholds": None}
    write_policy(home, model_id, **plain, **{"reject_threshold": tiny_model().reject.value, **changes})


def home_with_champion(home: Home, model_id: str = MID, *, older: str | None = OLD) -> Home:
    """A home where a model runs, one ran before (unless None), and no policy was ever written: both have taskclf's default threshold."""
    for name in [older, model_id]:
        if name is not None:
            write_tiny_bundle(home.models / name, metadata={"reject_threshold": DEFAULT_REJECT_THRESHOLD})
    write_history(home, *(name for name in (older, model_id) if name is not None))
    point_at(home, model_id)
    return home


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, and every empty folder; the lock file says nothing and is left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"<folder>"
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


def copy_real_home(source: Path, target: Path) -> Home:
    """A copy of a real home that may be written into."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    return Home(target)


# --- Two models on the same windows -------------------------------------------------------------------------------------------------


def duel_rows(minutes: Mapping[str, int] | None = None, *, days: int = 5) -> pd.DataFrame:
    """Labelled windows that no tiny bundle learned from: every day so many minutes of each label, by user.

    By default 400 windows on ten user-days: five minutes of each label a day, for ann and for bob.
    """
    days_of = [(user, n, at("09:00", day=day)) for user, n in (minutes or {"ann": 5, "bob": 5}).items() for day in range(days)]
    frames = [
        pd.DataFrame(
            {
                "user_id": user,
                "bucket_start_ts": pd.date_range(start, periods=n * len(LABELS), freq="min").as_unit("us"),
                "label": np.repeat(LABELS, n),
            }
        )
        for user, n, start in days_of
    ]
    return pd.concat(frames, ignore_index=True).astype({"user_id": "category", "label": pd.CategoricalDtype(list(LABELS))})


def sliced(rows: pd.DataFrame, *, category: npt.ArrayLike = "browser", after_idle: npt.ArrayLike = False) -> pd.DataFrame:
    """The rows with what windows are sliced by: these app categories, the hour of their start, and whether they come after idle."""
    described = rows.assign(hour_of_day=rows["bucket_start_ts"].dt.hour.astype(np.float64), idle_return_indicator=after_idle)
    described["app_category"] = pd.Categorical(np.broadcast_to(category, len(rows)))
    return described.assign(schema_version=pd.Categorical(["v1"] * len(rows)))


def some(rows: pd.DataFrame, share: float, *, after: float = 0.0, among: pd.Series | None = None) -> np.ndarray:
    """Marks a share of the windows of each label, spread evenly over users and days, shape (n,).

    Args:
        rows: from `duel_rows`.
        share: how many of each label.
        after: leave out this share first, so that another choice does not overlap.
        among: of which windows; None is all of them.
    """
    chosen = rows if among is None else rows[among]
    day = chosen["bucket_start_ts"].dt.date
    turn = chosen.groupby(["user_id", day, "label"], observed=True).cumcount()
    order = chosen.assign(turn=turn).sort_values(["turn", "bucket_start_ts", "user_id"])
    place = order.groupby("label", observed=True).cumcount().reindex(chosen.index)
    size = chosen.groupby("label", observed=True)["label"].transform("size").astype(int)
    marked = (place >= (after * size).round()) & (place < ((after + share) * size).round())
    return marked.reindex(rows.index, fill_value=False).to_numpy()


def named(rows: pd.DataFrame, *, wrong: np.ndarray | None = None) -> Predictions:
    """The predictions of a model that takes these windows for the next label, and names every other one right."""
    true = label_codes(rows).astype(np.int64)
    said = true if wrong is None else np.where(wrong, (true + 1) % len(LABELS), true)
    return Predictions(hash_row_keys(rows), true, said)


def beside_champion(
    rows: pd.DataFrame, challenger: Predictions, champion: Predictions, *, config: RetrainConfig | None = None, left_out: int = 0
) -> Comparison:
    """Both on these windows, none of which either learned from; sliced if the rows are from `sliced`."""
    config = config or retrain_config()
    reports = [
        LeakageReport(
            model_id=name, basis="row_hashes", windows=len(rows), trained_on=0, neighbors=0, trained_until=AS_OF, summary="nothing of it"
        )
        for name in (NEW, MID)
    ]
    return complete_comparison(
        challenger_id=NEW,
        champion_id=MID,
        left_out=left_out,
        exclusion=Exclusion(
            leakage=reports,
            windows=len(rows),
            excluded=0,
            remaining=len(rows),
            only_newer=False,
            newer_than=None,
            summary="all are compared",
        ),
        sums=sum_blocks(rows["user_id"], rows["bucket_start_ts"], challenger.true, challenger.predicted, champion.predicted),
        flips=count_flips(challenger.true, challenger.predicted, champion.predicted),
        slices=sum_slices(rows, challenger.true, challenger.predicted, champion.predicted, [np.ones(len(rows), dtype=bool)] * 2),
        seed=7,
        settings=config.comparison,
        min_class_windows=config.evaluation.min_class_windows,
    )


# --- Reports, gates, decisions ------------------------------------------------------------------------------------------------------


def window_keys(users: list[str], sessions: list[str] | None = None) -> pd.DataFrame:
    """What `evaluate` needs to know of consecutive minutes with these users and sessions (one session by default)."""
    return pd.DataFrame(
        {
            "user_id": pd.Categorical(users),
            "session_id": pd.Categorical(sessions or ["s"] * len(users)),
            "bucket_start_ts": pd.date_range(at("09:00"), periods=len(users), freq="min").as_unit("us"),
        }
    )


def class_score(**changes: object) -> ClassScore:
    """A judged label with good figures, some of them replaced."""
    good = {"precision": 0.97, "recall": 0.96, "f1": 0.965, "support": 100, "predicted": 99, "judged": True}
    return ClassScore.model_validate({**good, **changes})


def a_report(*, classes: Mapping[str, ClassScore] | None = None, **figures: object) -> EvaluationReport:
    """A report whose figures pass every gate of the shipped settings, some of them replaced."""
    good: dict[str, object] = {
        "model_id": NEW,
        "schema_version": "v1",
        "reject_threshold": 0.5,
        "windows": 800,
        "rows_digest": "0" * 16,
        "predictions": None,
        "judged_labels": list(LABELS),
        "label_names": list(LABELS),
        "macro_f1": 0.9,
        "weighted_f1": 0.9,
        "macro_precision": 0.9,
        "macro_recall": 0.9,
        "one_vs_rest_auc": 0.98,
        "all_labels_macro_f1": 0.9,
        "all_labels_weighted_f1": 0.9,
        "accuracy": 0.9,
        "per_class": {label: class_score() for label in LABELS} | dict(classes or {}),
        "per_user": {"user-0": UserScore(windows=800, macro_f1=0.9, reject_rate=0.1, unseen=False)},
        "seen_user_f1": None,
        "unseen_user_f1": None,
        "confusion_matrix": np.diag([100] * 8).tolist(),
        "rejected_by_label": dict.fromkeys(LABELS, 0),
        "reject_rate": 0.1,
        "calibration": {},
        "expected_calibration_error": 0.05,
        "multiclass_brier_score": 0.2,
        "multiclass_log_loss": 0.4,
        "flap_rate": 0.1,
        "flap_rate_smoothed": 0.05,
        "top_confusion_pairs": [],
    }
    return EvaluationReport.model_validate({**good, **figures})


def a_reproduction(*, same: bool = True) -> Reproduction:
    """What training again gave: the same, or other trees."""
    again = "1" * 64 if same else "2" * 64
    return Reproduction(
        model_id=NEW,
        dataset_hash="0a963156a3de73d5",
        same=same,
        tree_hash="1" * 64,
        reproduced_tree_hash=again,
        probe_digest="3" * 64,
        reproduced_probe_digest="3" * 64,
        summary="trained again: the same" if same else "trained again: trees differ",
    )


def gate(name: str, status: Status = "PASS") -> RegressionGate:
    """One gate with a status and a detail that names it."""
    kind = "comparative" if name in COMPARATIVE_GATES else "candidate"
    bound = configured_threshold(name, retrain_config().evaluation)
    threshold = 0.5 if bound is None else bound
    low, high = threshold if isinstance(threshold, tuple) else (threshold, threshold + 0.2)
    observed = {"PASS": 1.0 if threshold == 1.0 else (low + high) / 2, "FAIL": low - 0.01}.get(status)
    return RegressionGate(
        name=name, kind=kind, status=status, observed=observed, threshold=threshold, unit="F1, higher is better", detail=f"detail of {name}"
    )


def all_gates(**statuses: Status) -> list[RegressionGate]:
    """Every required gate in its order, PASS unless another status is given."""
    return [gate(name, statuses.get(name, "PASS")) for name in (*CANDIDATE_GATES, *COMPARATIVE_GATES)]


def gates_without_champion() -> list[RegressionGate]:
    """The comparative gates of a home where no model ever ran."""
    return check_regression_gates(
        None,
        champion_state="none",
        champion_reason=NO_CHAMPION,
        anchors=[],
        rolled_back_as=None,
        history_damaged=False,
        bootstrap=False,
        settings=retrain_config().comparison,
    ).gates


def feasible() -> Feasibility:
    """A dataset on which every label can be judged."""
    return Feasibility(promotable=True, judged_classes=list(LABELS), reasons=[], advice=[])


def infeasible() -> Feasibility:
    """A dataset without enough breaks."""
    return Feasibility(
        promotable=False, judged_classes=list(LABELS[1:]), reasons=["BreakIdle has 4 test windows"], advice=["Label 26 more minutes of it."]
    )


def a_decision(
    home: Home,
    model_id: str = NEW,
    *,
    gates: list[RegressionGate] | None = None,
    feasibility: Feasibility | None = None,
    auto_promote: bool = True,
    **changes: object,
) -> PromotionDecision:
    """A sealed decision about a bundle of this home as it lies there now; PROMOTE unless gates or settings say otherwise.

    It was made without a champion: a comparative gate that is to pass is what it is then.
    """
    beside = {each.name: each for each in gates_without_champion()}
    judged = [beside[each.name] if each.name in beside and each.status == "PASS" else each for each in gates or all_gates()]
    judged = [] if gates == [] else judged
    ground = feasibility or feasible()
    verdict, reason = decide(judged, ground, auto_promote=auto_promote)
    folder = find_bundle(home, model_id)
    registry = read_registry_state(home)
    content = DecisionContent(
        receipt_version=RECEIPT_VERSION,
        verdict=verdict,
        reason=reason,
        as_of=AS_OF,
        home=str(home.root),
        demo=False,
        code_version="0123456",
        options=RunOptions(dry_run=False, forced=False, bootstrap=False),
        dataset=DatasetRef(
            dataset_hash="0a963156a3de73d5",
            digest="0a963156a3de73d5" * 4,
            path="artifacts/snapshots/0a963156a3de73d5",
            split={"train": 700, "validation": 150, "test": 150},
            label_watermark="0" * 16,
            labels_until=None,
            feasibility=ground,
        ),
        challenger=model_ref(model_id, {} if folder is None else bundle_hashes(folder)),
        champion=ChampionRef(state="none", source="none", reason=NO_CHAMPION, model=None, model_dir=None, warnings=[]),
        registry=RegistryRef(
            sequence=registry.sequence,
            pointer_hash=registry.digests.pointer,
            policy_hash=registry.digests.policy,
            previous_policy=registry.policy.in_force,
        ),
        comparison=None,
        anchors=[],
        rolled_back_as=None,
        gates=judged,
        required_gates=[*CANDIDATE_GATES, *COMPARATIVE_GATES],
        policy=retrain_config(auto_promote=auto_promote).policy,
        prediction_diff=None,
        protections=[],
    )
    content = with_changes(content, **changes)
    return seal(content if content.replaces else content.model_copy(update={"replaces": find_replaced(home, content)}))


def model_ref(model_id: str, files: dict[str, str], **changes: object) -> ModelRef:
    """A model with good metrics, as a decision refers to it."""
    fields: dict[str, object] = {"report_hash": "1" * 64, "macro_f1": 0.9, "weighted_f1": 0.9, **changes}
    return ModelRef.model_validate({"model_id": model_id, "files": files, **fields})


NESTED_FIELDS = {
    **{name: ("options", name) for name in RunOptions.model_fields},
    **{name: ("dataset", name) for name in DatasetRef.model_fields},
    **{f"champion_{name}": ("champion", name) for name in ChampionRef.model_fields},
    **{name: ("registry", name) for name in RegistryRef.model_fields},
}
"""Part and field of a decision by the name that `with_changes` takes; `challenger` is changed whole."""


def with_changes(content: DecisionContent, **changes: object) -> DecisionContent:
    """The content of a decision with other values of some fields, those of its parts by the names of NESTED_FIELDS."""
    fields: dict[str, Any] = {name: getattr(content, name) for name in DecisionContent.model_fields}
    for name, value in changes.items():
        part, field = NESTED_FIELDS.get(name, (name, None))
        fields[part] = value if field is None else type(fields[part]).model_validate({**dict(fields[part]), field: value})
    return DecisionContent.model_validate(fields)
