"""The bundles that were read for one state of the registry, so that each file is opened once."""

from pathlib import Path

from taskclf_dagster.domain.models.bundle import ModelBundle, find_bundle_problem, load_bundle, parse_bundle
from taskclf_dagster.domain.models.bundle_files import MANIFEST, BundleFiles, read_bundle_files
from taskclf_dagster.domain.models.bundle_problem import BundleProblem, problem_of
from taskclf_dagster.domain.models.manifest import find_manifest_problem
from taskclf_dagster.errors import BundleError


class BundleCache:
    """The bundles that were read for one state, with their problems; valid as long as no other process writes to models/."""

    def __init__(self) -> None:
        self._files: dict[Path, BundleFiles] = {}
        self._problems: dict[Path, BundleProblem | None] = {}
        self._parsed: dict[Path, ModelBundle] = {}

    def files(self, folder: Path) -> BundleFiles:
        """Returns the files of a folder, whose bytes are read at most once."""
        key = folder.resolve()
        found = self._files[key] = self._files.get(key) or read_bundle_files(folder)
        return found if found.folder == folder else found.at(folder)

    def keep(self, files: BundleFiles) -> None:
        """Stores files that were just read or written."""
        key = files.folder.resolve()
        self._files[key] = files
        self._problems.pop(key, None)
        self._parsed.clear()

    def parsed(self, folder: Path) -> ModelBundle:
        """Returns a bundle as `parse_bundle` does."""
        if folder not in self._parsed:
            self._parsed[folder] = parse_bundle(self.files(folder))
        return self._parsed[folder]

    def problem(self, folder: Path) -> BundleProblem | None:
        """Returns why a bundle cannot run, or None: one with a manifest is compared with it, any other is loaded."""
        key = folder.resolve()
        if key not in self._problems:
            self._problems[key] = self._find_problem(self.files(folder))
        return self._problems[key]

    def note_problem(self, folder: Path, problem: BundleProblem) -> None:
        """Stores a problem that was found by loading a bundle."""
        self._problems[folder.resolve()] = problem

    def _find_problem(self, files: BundleFiles) -> BundleProblem | None:
        if MANIFEST in files.names or (files.folder / MANIFEST).exists():
            return find_manifest_problem(files) or find_bundle_problem(self.parsed(files.folder))
        try:
            load_bundle(files)
        except BundleError as error:
            return problem_of(error)
        return None
