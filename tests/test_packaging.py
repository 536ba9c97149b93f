"""What a wheel and a fresh environment need: every package listed, every data file covered, every dependency pinned."""

import fnmatch
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
SOURCES = ("instruments", "workflows", "analysis", "sim_configs")
GENERATED = {"__pycache__", ".git", ".venv", "build", "dist", "runs", ".ohmflow"}


def dotted(folder: Path) -> str:
    return ".".join(folder.relative_to(ROOT).parts)


def project_files() -> list[Path]:
    """Every file of the project: hidden folders but `.ci`, caches and build products apart."""
    found = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        hidden = any(p.startswith(".") for p in parts[:-1] if p != ".ci")
        if path.is_file() and not hidden and not GENERATED & set(parts) and ".egg-info" not in str(path):
            found.append(path)
    return found


def test_every_package_is_in_the_wheel() -> None:
    moved = {folder: name for name, folder in SETUPTOOLS["package-dir"].items()}
    found = set()
    for source in SOURCES:
        for init in (ROOT / source).rglob("__init__.py"):
            folder = init.parent.relative_to(ROOT).as_posix()
            found.add(moved.get(folder, dotted(init.parent)))
    assert found == set(SETUPTOOLS["packages"])


def test_every_module_lies_in_a_package() -> None:
    lost = [p for s in SOURCES for p in (ROOT / s).rglob("*.py") if not (p.parent / "__init__.py").exists()]
    assert lost == []


def test_every_data_file_is_in_the_wheel() -> None:
    patterns = [f"{dotted(ROOT / name)}/{p}" for name, many in SETUPTOOLS["package-data"].items() for p in many]
    for source in SOURCES:
        for path in (ROOT / source).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc"):
                assert any(_covers(pattern, name) for pattern in patterns), f"{name} would be missing from a wheel"


def _covers(pattern: str, name: str) -> bool:
    # As setuptools globs: a star does not cross folders.
    return pattern.count("/") == name.count("/") and fnmatch.fnmatch(name, pattern)


def canonical(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_every_direct_dependency_is_pinned_within_its_bounds() -> None:
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonical(name): version for name, version in pins.items()}
    assert len(pinned) == len(pins)
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    for text in wanted:
        requirement = Requirement(text)
        assert canonical(text) in pinned, f"{text} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pinned[canonical(text)]), f"{text} excludes {pinned[canonical(text)]}"


def test_scripts_and_licence_are_there() -> None:
    for target in PROJECT["project"]["scripts"].values():
        module, _, name = target.partition(":")
        assert f"def {name}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert all((ROOT / name).is_file() for name in PROJECT["project"]["license-files"])


# Written so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile("|".join((r"/wor" r"k/", r"/tm" r"p/", r"/roo" r"t/", r"[A-Z]:\\User" r"s")))


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}: {line.strip()}" for line in text.splitlines() if MACHINE_PATHS.search(line)
        ]
    assert found == []


def test_the_search_above_finds_machine_paths() -> None:
    assert MACHINE_PATHS.search("see /wor" + "k/here")
    assert Path(__file__) in project_files()
