"""The pages under docs/, and the other Markdown files: what they name exists."""

import ast
import re
import tomllib
from pathlib import Path

import click

from taskclf_dagster import errors
from taskclf_dagster.cli.main import main

PACKAGE = Path(errors.__file__).parents[1]
PROJECT = PACKAGE.parent
PAGES = sorted(path for path in (*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "deploy").glob("*.md")))
ROOTS = sorted(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())

MODULE_NAME = re.compile(r"`(?:taskclf_dagster\.)?((?:" + "|".join(ROOTS) + r")(?:\.\w+)*)`")
IMPORT = re.compile(r"(?:from|import) (taskclf_dagster[\w.]*)(?: import (\w+))?")
FILE_NAME = re.compile(r"(?:^|[`\s(])((?:taskclf_dagster|taskclf_dagster_tests|configs|deploy|benchmarks|docs)/[\w./*-]+)")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
MAKE = re.compile(r"(?:^    |`)make ([a-z-]+)", re.MULTILINE)
COMMAND = re.compile(r"taskclf-dagster (?!taskclf)((?:[a-z][a-z-]+)(?: [a-z][a-z-]+)?)")


def _pages() -> list[tuple[str, str]]:
    assert len(PAGES) > 10
    return [(path.relative_to(PROJECT).as_posix(), path.read_text(encoding="utf-8")) for path in PAGES if path.name != "CHANGELOG.md"]


def _exists(dotted: str) -> bool:
    """Returns True if a dotted name below the package is a package, a module, or a name that a module defines at its top level."""
    parts = dotted.split(".")
    path = PACKAGE.joinpath(*parts)
    if (path / "__init__.py").is_file() or path.with_suffix(".py").is_file():
        return True
    module = PACKAGE.joinpath(*parts[:-1]).with_suffix(".py")
    return module.is_file() and parts[-1] in _top_level_names(module)


def _top_level_names(module: Path) -> set[str]:
    names = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_module_that_a_page_names_exists() -> None:
    named = {(page, name) for page, text in _pages() for name in MODULE_NAME.findall(text) if not name.endswith((".graphql", ".py"))}
    imported = {
        (page, ".".join([*module.split(".")[1:], *([name] if name else [])]))
        for page, text in _pages()
        for module, name in IMPORT.findall(text)
    }
    assert len(named) > 60
    assert sorted(f"{page}: {name}" for page, name in named | imported if not _exists(name)) == []


def test_every_function_or_constant_that_the_architecture_names_exists() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([A-Z][A-Z_]{3,}|[A-Z][a-z]+[A-Z]\w+|[a-z]+_[a-z_]+)`", text))
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", source)) == []


def test_every_package_of_the_domain_is_on_the_page_of_the_architecture_in_the_order_of_the_contract() -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    domain = next(contract for contract in contracts if contract.get("containers") == ["taskclf_dagster.domain"])
    order = [name.strip() for layer in reversed(domain["layers"]) for name in layer.split("|")]
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `domain\.(\w+)` \| [^|]+ \|$", text, re.MULTILINE)
    assert table == order


def _modules_that_mention(pattern: str) -> set[str]:
    paths = [path for path in PACKAGE.rglob("*.py") if re.search(pattern, path.read_text(encoding="utf-8"))]
    return {path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".") for path in paths}


def test_the_answers_of_the_architecture_hold() -> None:
    assert _modules_that_mention(r"\bwrite_active_atomic\(") == {"domain.registry.commit"}
    label_store = {name for name in _modules_that_mention(r"\bhome\.labels\b") if not name.startswith("demo.")}
    assert label_store == {
        "domain.data.label_store",
        "domain.scheduling.label_arrival",
        "domain.scheduling.data_assessment",
        "domain.backtest.known_labels",
    }
    registry = {name for name in _modules_that_mention(r"from taskclf_dagster\.domain\.registry\b") if ".registry." not in name}
    assert {name.split(".")[1 if name.startswith("domain.") else 0] for name in registry} == {
        "scheduling",
        "retraining",
        "monitoring",
        "trials",
        "probation",
        "backtest",
        "reporting",
        "defs",
        "status",
        "web",
        "cli",
    }
    assert _modules_that_mention(r"\bRETRY_AFTER\b") == {"domain.scheduling.retry_policy"}


def test_every_file_that_a_page_names_exists() -> None:
    named = {(page, name.rstrip(".")) for page, text in _pages() for name in FILE_NAME.findall(text)}
    assert len(named) > 10
    assert sorted(f"{page}: {name}" for page, name in named if not (PROJECT / name).exists() and not list(PROJECT.glob(name))) == []


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    missing = []
    for page, text in _pages():
        for name, heading in LINK.findall(text):
            target = (PROJECT / page).parent / name if name else PROJECT / page
            if not target.exists() or (heading and heading not in _headings(target)):
                missing.append(f"{page}: {name}#{heading}")
    assert missing == []


def _headings(page: Path) -> set[str]:
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {(page, target) for page, text in _pages() for target in MAKE.findall(text)}
    assert len(named) > 5
    assert sorted(f"{page}: make {target}" for page, target in named if target not in targets) == []


def test_every_command_that_a_page_names_exists() -> None:
    named = {(page, command) for page, text in _pages() for command in COMMAND.findall(text)}
    assert len(named) > 10
    assert sorted(f"{page}: {command}" for page, command in named if not _is_command(command.split())) == []


def _is_command(words: list[str]) -> bool:
    command = main.get_command(click.Context(main), words[0])
    if isinstance(command, click.Group) and len(words) > 1:
        return words[1] in command.commands
    return command is not None


def test_the_readme_is_neither_a_stub_nor_a_book() -> None:
    assert 120 <= len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
