"""Challengers of replays: trained as a retrain trains them, and shared between policies and replays that would train the same one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.backtest.content_store import FILES, ContentStore
from taskclf_dagster.domain.backtest.cost import CpuClock
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.models.bundle_files import KNOWN, METADATA, read_bundle_files
from taskclf_dagster.domain.models.challenger import ChallengerModel, build_challenger, next_model_id
from taskclf_dagster.domain.models.chosen_settings import ChosenSettings
from taskclf_dagster.domain.storage.files import json_text, write_atomic, write_second_name
from taskclf_dagster.domain.storage.json_files import parse_json_object
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Report, ignore_progress


@dataclass(frozen=True)
class Trainer:
    """The program and the machine that train.

    Attributes:
        cores: number of processors that `num_threads: auto` may use.
        code_version: commit of this package.
        library_versions: as recorded in bundles.
        stopwatch: a monotonic clock [s].
        cpu_clock: CPU time of this process [s].
    """

    cores: int
    code_version: str
    library_versions: Mapping[str, str]
    stopwatch: Callable[[], float]
    cpu_clock: CpuClock


class SharedFits:
    """Challengers by content.

    Args:
        store: keeps them.
        trainer: trains those that are missing.
    """

    def __init__(self, store: ContentStore, trainer: Trainer) -> None:
        self._store, self._trainer = store, trainer

    def get(
        self,
        home: Home,
        snapshot: DatasetSnapshot,
        *,
        config: RetrainConfig,
        earlier: ChosenSettings | None,
        on_progress: Report = ignore_progress,
    ) -> tuple[ChallengerModel, float]:
        """Trains the challenger of a retrain in the home of a policy, or puts it there if it was trained before.

        Id and recorded configuration are those of the policy, so that the bundle is the one that its own retrain would write.

        Args:
            home: of the policy.
            snapshot: the dataset.
            config: of the policy.
            earlier: the settings of the last decided run; None if there is none.
            on_progress: takes reports of the rounds of the fits.

        Returns:
            The challenger, and the CPU time that it took when it was trained [s].
        """
        key = self._name(snapshot, config, earlier)
        return self._read(key, home, snapshot, config) or self._train(key, home, snapshot, config, earlier, on_progress)

    def _name(self, snapshot: DatasetSnapshot, config: RetrainConfig, earlier: ChosenSettings | None) -> str:
        training = config.training.model_dump(mode="json", exclude={"prove_reproducible": True, "train_params": {"num_threads"}})
        kept = None if earlier is None or config.training.search == "off" else earlier.model_dump(mode="json", exclude={"reason", "search"})
        about = {
            "dataset": snapshot.dataset_digest,
            "as_of": snapshot.as_of.isoformat(),
            "labels": snapshot.label_watermark,
            "training": training,
            "look_backs": [config.dataset.data_lookback_days, config.dataset.training_lookback_days],
            "judged": [config.evaluation.min_class_windows, config.comparison.min_user_days],
            "earlier": kept,
            "program": [self._trainer.code_version, dict(self._trainer.library_versions)],
        }
        return json_hash(about)[:32]

    def _train(
        self,
        key: str,
        home: Home,
        snapshot: DatasetSnapshot,
        config: RetrainConfig,
        earlier: ChosenSettings | None,
        on_progress: Report,
    ) -> tuple[ChallengerModel, float]:
        trainer, begin = self._trainer, self._trainer.cpu_clock()
        made = build_challenger(
            home,
            snapshot,
            config=config,
            earlier=earlier,
            cores=trainer.cores,
            code_version=trainer.code_version,
            library_versions=trainer.library_versions,
            stopwatch=trainer.stopwatch,
            on_progress=on_progress,
        )
        cpu_seconds = trainer.cpu_clock() - begin
        folder = home.root / made.path
        document = {"challenger": made.model_dump(mode="json"), "cpu_seconds": cpu_seconds}
        self._store.add(key, document, home, [folder / name for name in read_bundle_files(folder).names])
        return made, cpu_seconds

    def _read(self, key: str, home: Home, snapshot: DatasetSnapshot, config: RetrainConfig) -> tuple[ChallengerModel, float] | None:
        document = self._store.read(key)
        if document is None:
            return None
        try:
            made = ChallengerModel.model_validate(document["challenger"])
        except (KeyError, ValidationError):  # of another version
            return None
        kept = read_bundle_files(self._store.folder / key / FILES / made.path)
        if kept.find_changed(made.files):
            return None
        model_id = next_model_id(home, snapshot.as_of, snapshot.dataset_digest, config.policy)
        folder = home.challengers / model_id
        for name in kept.names:
            if name in KNOWN and name != METADATA:
                write_second_name(folder / name, kept.folder / name)
        metadata = {**parse_json_object(kept.folder / METADATA, kept.content(METADATA)), "model_id": model_id, "config": config.policy}
        write_atomic(folder / METADATA, json_text(metadata).encode())
        renamed = {"model_id": model_id, "path": str(folder.relative_to(home.root)), "files": read_bundle_files(folder).hashes()}
        return made.model_copy(update=renamed), float(str(document.get("cpu_seconds", 0.0)))
