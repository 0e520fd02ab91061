"""The catalogue of damaged bundles: every way to break one that the tests know, with the code of the problem that must be found.

All of them are tried with the bundle parser (`domain/models/test_bundle.py`); other tests try one for each code, ONE_EACH.
"""

from collections.abc import Callable
from pathlib import Path

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.models.bundle_files import CONFUSION, ENCODERS, METADATA, METRICS, MODEL
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.errors import BundleErrorCode
from taskclf_dagster_tests.models import edit_json

Damage = Callable[[Path], object]
"""Breaks the bundle in a folder."""


def _cut_model(share: float) -> Damage:
    """Leaves that share of the tree section of model.txt, and nothing after it."""

    def damage(folder: Path) -> None:
        text = (folder / MODEL).read_text(encoding="utf-8")
        begin, end = text.index("Tree=0"), text.index("end of trees")
        (folder / MODEL).write_text(text[: begin + int(share * (end - begin))], encoding="utf-8")

    return damage


def _cut_model_within(marker: str, offset: int) -> Damage:
    """Cuts model.txt some characters after the first occurrence of a marker."""

    def damage(folder: Path) -> None:
        text = (folder / MODEL).read_text(encoding="utf-8")
        (folder / MODEL).write_text(text[: text.index(marker) + offset], encoding="utf-8")

    return damage


def _lose_from_model(characters: int) -> Damage:
    """Takes characters out of the middle of the tree section of model.txt, and nothing else."""

    def damage(folder: Path) -> None:
        text = (folder / MODEL).read_text(encoding="utf-8")
        middle = (text.index("Tree=0") + text.index("end of trees")) // 2
        (folder / MODEL).write_text(text[:middle] + text[middle + characters :], encoding="utf-8")

    return damage


def _remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def _edit(name: str, **changes: object) -> Damage:
    return lambda folder: edit_json(folder / name, changes)


def _without(name: str, key: str) -> Damage:
    return lambda folder: edit_json(folder / name, {}, without=key)


def _truncate(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-20])


def _put_last_leaf(value: str) -> Damage:
    """Puts another text in place of the last leaf of a tree; the tree keeps the size that the header states, the metadata the hash."""

    def change(folder: Path) -> None:
        text = (folder / MODEL).read_text(encoding="utf-8")
        line = next(line for line in text.split("\n") if line.startswith("leaf_value="))
        *others, last = line.split(" ")
        changed = " ".join([*others[:-1], others[-1] + "0" * (len(last) - len(value)), value])
        (folder / MODEL).write_text(text.replace(line, changed), encoding="utf-8")
        edit_json(folder / METADATA, {"artifact_hash": hash_file(folder / MODEL)})

    return change


_CODES: dict[str, BundleErrorCode] = {METADATA: "metadata", METRICS: "metrics", ENCODERS: "encoders", CONFUSION: "confusion_matrix"}


INVALID: dict[str, tuple[Damage, BundleErrorCode]] = {
    **{f"{name} missing": (_remove(name), "missing_file") for name in (MODEL, METADATA, METRICS, CONFUSION, ENCODERS)},
    "model.txt empty": (_write(MODEL, ""), "model_text"),
    "model.txt something else": (_write(MODEL, "<html>" * 100), "model_text"),
    "model.txt cut in the header": (_cut_model_within("feature_names=", 30), "model_text"),
    "model.txt cut in the first tree": (_cut_model(0.02), "model_text"),
    "model.txt cut in the middle": (_cut_model(0.5), "model_text"),
    "model.txt without a character of a tree": (_lose_from_model(1), "model_text"),
    "model.txt cut at the end of the trees": (_cut_model(1.0), "model_text"),
    "model.txt cut in the feature importances": (_cut_model_within("feature_importances:", 25), "model_text"),
    "model.txt cut in the parameters": (_cut_model_within("[learning_rate:", 3), "model_text"),
    "model.txt cut before the end of the parameters": (_cut_model_within("end of parameters", 0), "model_text"),
    "model.txt not text": (lambda folder: (folder / MODEL).write_bytes(b"tree\n\xff\xfe\x00"), "model_text"),
    **{f"a leaf of {value}": (_put_last_leaf(value), "model_text") for value in ("nan", "inf", "-inf", "NaN", "-nan", "Infinity")},
    **{f"{name} truncated": (_truncate(name), _CODES[name]) for name in (METADATA, METRICS, ENCODERS)},
    **{f"{name} empty": (_write(name, ""), _CODES[name]) for name in (METADATA, METRICS, ENCODERS, CONFUSION)},
    **{f"{name} an array": (_write(name, "[]"), _CODES[name]) for name in (METADATA, METRICS, ENCODERS)},
    **{f"{name} null": (_write(name, "null"), _CODES[name]) for name in (METADATA, METRICS, ENCODERS)},
    **{f"{name} nested too deep": (_write(name, "[" * 100_000), _CODES[name]) for name in (METADATA, METRICS, ENCODERS)},
    "encoders of numbers": (_edit(ENCODERS, app_id=[1, 2]), "encoders"),
    "encoders of text": (_edit(ENCODERS, app_id="abc"), "encoders"),
    **{
        f"{figure} {value}": (_edit(METRICS, **{figure: value}), "metrics")
        for figure in ("macro_f1", "weighted_f1")
        for value in (float("nan"), float("inf"), float("-inf"), 7.5, -0.1, None, "high")
    },
    **{
        f"metrics without {key}": (_without(METRICS, key), "metrics")
        for key in ("macro_f1", "weighted_f1", "confusion_matrix", "label_names")
    },
    "confusion matrix of seven rows": (_edit(METRICS, confusion_matrix=[[1] * 8] * 7), "metrics"),
    "confusion matrix with a short row": (_edit(METRICS, confusion_matrix=[[1] * 8] * 7 + [[1] * 7]), "metrics"),
    "confusion matrix with a negative count": (_edit(METRICS, confusion_matrix=[[1] * 8] * 7 + [[1] * 7 + [-1]]), "metrics"),
    "confusion csv of another shape": (_write(CONFUSION, ",A,B\nA,1,2\n"), "confusion_matrix"),
    "confusion csv of other names": (_write(CONFUSION, ",A,B\nA,1,2\nC,3,4\n"), "confusion_matrix"),
    "confusion csv of words": (_write(CONFUSION, ",A,B\nA,one,two\nB,three,four\n"), "confusion_matrix"),
    **{
        f"metadata without {key}": (_without(METADATA, key), "metadata")
        for key in ("schema_version", "schema_hash", "label_set", "train_date_from", "train_date_to", "dataset_hash")
    },
    **{f"metadata without {key}": (_without(METADATA, key), "metadata") for key in ("reject_threshold", "data_provenance", "created_at")},
    "threshold NaN": (_edit(METADATA, reject_threshold=float("nan")), "metadata"),
    "threshold above 1": (_edit(METADATA, reject_threshold=1.5), "metadata"),
    "unknown provenance": (_edit(METADATA, data_provenance="guessed"), "metadata"),
    "created_at no time": (_edit(METADATA, created_at="yesterday"), "metadata"),
}
"""Ways to break a bundle so that it cannot be used at all, and the code of the problem."""

INCOMPATIBLE: dict[str, tuple[Damage, BundleErrorCode]] = {
    "schema_hash one character off": (_edit(METADATA, schema_hash="4077fe0dba71"), "schema_hash"),
    "schema_hash of another version": (_edit(METADATA, schema_hash="7f29b4b8795e"), "schema_hash"),
    "unknown schema version": (_edit(METADATA, schema_version="v9"), "schema_hash"),
    "a label missing": (_edit(METADATA, label_set=list(LABELS[:-1])), "label_set"),
    "a label too many": (_edit(METADATA, label_set=[*LABELS, "Mixed/Unknown"]), "label_set"),
    "a label twice": (_edit(METADATA, label_set=[*LABELS[:-1], LABELS[0]]), "label_set"),
    "another label": (_edit(METADATA, label_set=[*LABELS[:-1], "Writing"]), "label_set"),
    "labels in reverse": (_edit(METADATA, label_set=list(reversed(LABELS))), "label_order"),
    "labels rotated": (_edit(METADATA, label_set=[*LABELS[1:], LABELS[0]]), "label_order"),
}
"""Ways to make a whole bundle one of another schema or label set, and the code of the problem."""

ONE_EACH: dict[BundleErrorCode, Damage] = {code: damage for damage, code in reversed([*INVALID.values(), *INCOMPATIBLE.values()])}
"""The first way of the catalogue for each code."""
