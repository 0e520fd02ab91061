"""The list of sabotages: one-line removals of a protection, each with the test that must fail then."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("sabotages.toml")


@dataclass(frozen=True)
class Sabotage:
    """One removal of a protection.

    Attributes:
        id: its name.
        file: relative to the project.
        old: text that occurs in the file exactly once.
        new: text that takes its place.
        test: node id of the test that must fail; without brackets it stands for all of its cases.
    """

    id: str
    file: str
    old: str
    new: str
    test: str

    def apply_to(self, text: str) -> str | None:
        """Returns the text of the file with the protection removed; None if the old text does not occur exactly once."""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 and self.old != self.new else None

    @property
    def test_file(self) -> str:
        return self.test.partition("::")[0]


def read_sabotages(path: Path = LIST) -> list[Sabotage]:
    """Returns the sabotages of the list, in its order."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Sabotage(id=name, **entry) for name, entry in document.items()]


def find_unusable(sabotages: list[Sabotage], project: Path = PROJECT) -> dict[str, str]:
    """Returns the reason for each sabotage that no longer applies, by its id."""
    problems = {}
    for sabotage in sabotages:
        file, test_file = project / sabotage.file, project / sabotage.test_file
        name = sabotage.test.split("::")[-1].partition("[")[0]
        if not file.is_file():
            problems[sabotage.id] = f"{sabotage.file} does not exist"
        elif sabotage.apply_to(file.read_text(encoding="utf-8")) is None:
            count = file.read_text(encoding="utf-8").count(sabotage.old)
            problems[sabotage.id] = f"its old text occurs {count} times in {sabotage.file}"
        elif not test_file.is_file() or f"def {name}(" not in test_file.read_text(encoding="utf-8"):
            problems[sabotage.id] = f"there is no test {sabotage.test}"
    return problems
