"""The homes that one deployment serves, by name: looked up again whenever they are asked for, because homes come and go.

Nothing of a home is read but which folders it has, so that a list of hundreds costs milliseconds. A home that cannot be used is in the
list with its problem, and disturbs no other.
"""

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taskclf_dagster.config.homes_file import MAX_HOMES, NAME_PATTERN, NAME_RULE, HomesFile, read_homes_file
from taskclf_dagster.errors import BrokenHomeError, HomeNotFoundError, HomesFileError, InvalidSetting, UnknownHomeError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import reason_of


@dataclass(frozen=True)
class ListedHome:
    """A home of the directory.

    Attributes:
        name: its name, which is its partition key and part of its addresses.
        home: the home, also if it cannot be used.
        problem: the reason why it cannot be used, without a full stop; None if it can.
    """

    name: str
    home: Home
    problem: str | None = None


@dataclass(frozen=True)
class HomeDirectory:
    """The homes of a homes file.

    Attributes:
        path: absolute path of the homes file.
    """

    path: Path

    @property
    def limits(self) -> HomesFile:
        """The present content of the homes file.

        Raises:
            HomesFileError: it is not valid.
        """
        return read_homes_file(self.path)

    def list_homes(self) -> list[ListedHome]:
        """Returns every home in the order of the names, with those that cannot be used.

        Of two names of one folder the first counts.

        Raises:
            HomesFileError: the homes file is not valid, its folder cannot be read, or there are more than MAX_HOMES homes.
        """
        is_listed, roots = self.limits.folder is None, sorted(self._iterate_roots())
        real = {name: Path(os.path.realpath(root)) for name, root in roots}
        first: dict[Path, str] = {}
        for name, _ in roots:
            first.setdefault(real[name], name)
        found = []
        for name, root in roots:
            problem = _find_problem(name, root, is_listed=is_listed)
            around = next((first[folder] for folder in (real[name], *real[name].parents) if first.get(folder, name) != name), None)
            if problem is None and around is not None:
                problem = f"its folder {root} is that of the home {around} as well, or in it; each home has a folder of its own"
            found.append(ListedHome(name, Home(root), problem))
        return found

    def list_usable(self) -> dict[str, Home]:
        """Returns the homes that can be used, by name, in the order of the names.

        Raises:
            HomesFileError: as `list_homes`.
        """
        return {listed.name: listed.home for listed in self.list_homes() if listed.problem is None}

    def open(self, name: str) -> Home:
        """Returns the home with a name.

        Raises:
            BrokenHomeError: it cannot be used.
            HomesFileError: as `list_homes`.
            UnknownHomeError: there is none.
        """
        homes = {listed.name: listed for listed in self.list_homes()}
        if name not in homes:
            raise UnknownHomeError(name, self.path, difflib.get_close_matches(name, homes, n=2))
        listed = homes[name]
        if listed.problem is not None:
            raise BrokenHomeError(name, listed.problem)
        return listed.home

    def find_name(self, home: Home) -> str | None:
        """Returns the name of a home, with symbolic links resolved; None if it is none of this directory. Lists no other home.

        Raises:
            HomesFileError: the homes file is not valid.
        """
        real, content = os.path.realpath(home.root), self.limits
        if content.folder is not None:
            folder = Path(content.folder).expanduser()
            name = home.root.name if os.path.realpath(folder / home.root.name) == real else Path(real).name
            return name if os.path.realpath(folder / name) == real and re.fullmatch(NAME_PATTERN, name) else None
        names = (name for name, root in sorted((content.homes or {}).items()) if os.path.realpath(Path(root).expanduser()) == real)
        return next(names, None)

    def _iterate_roots(self) -> Iterator[tuple[str, Path]]:
        """Yields name and folder of everything that is, or should be, a home.

        Raises:
            HomesFileError: the homes file is not valid, its folder cannot be read, or it holds more than MAX_HOMES homes.
        """
        content = self.limits
        if content.folder is None:
            yield from ((name, Path(root).expanduser()) for name, root in (content.homes or {}).items())
            return
        folder = Path(content.folder).expanduser()
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        except OSError as error:
            message = f"the folder {folder} cannot be listed: {reason_of(error)}"
            raise HomesFileError(self.path, [InvalidSetting("folder", "value_error", message)]) from error
        roots = [(name, folder / name) for name in names if _is_meant(folder / name)]
        if len(roots) > MAX_HOMES:
            message = f"the folder {folder} holds {len(roots)} homes, and the most are {MAX_HOMES}; serve them in several deployments"
            raise HomesFileError(self.path, [InvalidSetting("folder", "value_error", message)])
        yield from roots


def _is_meant(root: Path) -> bool:
    """Returns True if a folder of the folder is a home, was one, or cannot be looked into; other folders are nobody's."""
    home = Home(root)
    has_one = any(os.path.lexists(path) for path in (home.processed, home.models, home.demo_marker, home.artifacts))
    return has_one or not os.access(root, os.R_OK | os.X_OK)


def _find_problem(name: str, root: Path, *, is_listed: bool) -> str | None:
    """Returns the reason why a home cannot be used; None if it can."""
    if not re.fullmatch(NAME_PATTERN, name):
        fix = "correct it" if is_listed else "rename the folder, or name its home under the key homes"
        return f"{name!r} cannot be its name: {NAME_RULE}; {fix}"
    try:
        Home(root).require()
    except HomeNotFoundError as error:
        return f"there is no folder {root}" if error.kind == "missing" else f"{root} has neither data/processed nor models"
    except OSError as error:
        return f"{root} cannot be read: {reason_of(error)}"
    return None if os.access(root, os.R_OK | os.X_OK) else f"{root} may not be read by this account"
