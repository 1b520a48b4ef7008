"""What pyproject.toml promises, compared with the tree: packages, dependencies, entry points, contents of the wheel.

The lists in pyproject.toml are written by hand because no finder of setuptools maps several top-level folders into one
namespace; these tests are what keeps them true.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Top-level folder -> the package that it is when installed.
MAPPED: dict[str, str] = {folder: package for package, folder in PROJECT["tool"]["setuptools"]["package-dir"].items()}


def modules(folder: str) -> Iterator[Path]:
    """The Python files below a top-level folder, relative to the checkout."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if "__pycache__" not in path.parts:
            yield path.relative_to(ROOT)


def installed_name(path: Path) -> Path:
    """Where a file of the checkout lies in an installation, relative to site-packages."""
    package = MAPPED[path.parts[0]]
    return Path(*package.split("."), *path.parts[1:])


def absolute_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every absolute import; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def third_party(paths: Iterator[Path]) -> dict[str, list[str]]:
    """The distributions that the files need, each with the files that import it."""
    distributions = importlib.metadata.packages_distributions()
    ours = {"keuos_hil", "conftest", *MAPPED, "tests", "netd"}
    found: dict[str, list[str]] = {}
    for path in paths:
        beside = {entry.stem for entry in (ROOT / path).parent.iterdir()}
        for name in {dotted.partition(".")[0] for _, dotted in absolute_imports(path)}:
            if name in sys.stdlib_module_names or name in ours or name in beside:
                continue
            # A lone extension module (siphash24) is not in that table; then distribution and module share their name.
            for distribution in set(distributions.get(name, [name])):
                found.setdefault(normalised(distribution), []).append(str(path))
    return found


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normalised(re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]) for requirement in requirements}


def shipped() -> list[Path]:
    return [path for folder in MAPPED for path in modules(folder)]


def test_every_folder_with_python_files_is_a_package():
    bare = sorted({str(path.parent) for path in shipped() if not (ROOT / path.parent / "__init__.py").is_file()})
    assert not bare, f"these folders hold modules but no __init__.py, so the wheel would leave them out: {bare}"


def test_the_package_list_is_the_tree():
    tree = sorted({".".join(installed_name(path).parent.parts) for path in shipped()})
    listed = sorted(PROJECT["tool"]["setuptools"]["packages"])
    assert listed == tree, "[tool.setuptools] packages in pyproject.toml (left) differs from the folders (right)"


def test_what_the_packages_import_is_declared_as_dependency_and_nothing_else():
    needed = third_party(iter(shipped()))
    have = declared(PROJECT["project"]["dependencies"])
    undeclared = {name: files for name, files in needed.items() if name not in have}
    assert not undeclared, f"imported, but missing from dependencies in pyproject.toml: {undeclared}"
    assert not have - set(needed), "declared as dependencies in pyproject.toml, but imported nowhere"


def test_what_the_tests_import_is_declared_too():
    needed = third_party(modules("tests"))
    have = declared(PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"])
    undeclared = {name: files for name, files in needed.items() if name not in have}
    assert not undeclared, f"imported by tests, but missing from dependencies or the dev extra: {undeclared}"


# What a folder may not import. In a checkout pytest loads suites/ under that name, and everything else is keuos_hil.*:
# the other name makes a second copy of a module, with classes and fixtures of its own. (ruff's banned-api can't tell a
# relative import inside plugins/ from an absolute one.) The rest is the direction in which imports run.
DOUBLES = ("suites", "targets", "plugins", "keuos_hil.suites")
BANNED: dict[str, tuple[str, ...]] = {
    "keuos_hil": (*DOUBLES, "keuos_hil.targets", "keuos_hil.plugins"),
    "plugins": (*DOUBLES, "keuos_hil.targets"),
    "targets": DOUBLES,
    "suites": (*DOUBLES, "keuos_hil.targets", "keuos_hil.plugins"),
    "tests": DOUBLES,
}


@pytest.mark.parametrize("folder", BANNED)
def test_imports_run_one_way_and_under_one_name(folder: str):
    wrong = [
        f"{path}:{line}: {name}"
        for path in modules(folder)
        for line, name in absolute_imports(path)
        if any(name == banned or name.startswith(f"{banned}.") for banned in BANNED[folder])
    ]
    assert not wrong, f"{folder}/ may not import {BANNED[folder]} (inside one folder import relatively): {wrong}"


def test_relative_imports_stay_within_their_folder():
    wrong = [
        f"{path}:{node.lineno}"
        for path in shipped()
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ImportFrom) and node.level >= len(path.parts)
    ]
    assert not wrong, f"these leave the top-level folder, which is another package when installed: {wrong}"


def test_every_dependency_states_its_minimum():
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(entry for extra in extras for entry in extra)]:
        assert ">=" in requirement, f"{requirement}: state the oldest version that works, as {requirement}>=..."


def test_entry_points_lead_to_modules_of_the_tree():
    files = {installed_name(path) for path in shipped()}
    for group, entries in PROJECT["project"]["entry-points"].items():
        for name, module in entries.items():
            as_path = Path(*module.split("."))
            assert as_path.with_suffix(".py") in files or as_path / "__init__.py" in files, (
                f"entry point {name} of group {group} leads to {module}, which is no module of this tree"
            )


def test_the_pytest_entry_point_bears_the_modules_own_name():
    for name, module in PROJECT["project"]["entry-points"]["pytest11"].items():
        assert name == module, "another name registers the plugin twice under -p, xdist and pytest_plugins"


#: Those that `make wheel` puts in.
ARCHITECTURES = ("x86_64", "arm64")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist and wheel, built offline from a copy of the checkout with stand-ins for images."""
    stage = tmp_path_factory.mktemp("stage")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, stage)
    ignore = shutil.ignore_patterns("__pycache__", "images", "*.egg-info")
    for folder in MAPPED:
        shutil.copytree(ROOT / folder, stage / folder, ignore=ignore)
    for architecture in ARCHITECTURES:
        images = stage / "keuos_hil" / "images" / architecture
        (images / "user").mkdir(parents=True)
        for name in ("keuos-release.elf", "keuos-hil.elf", "initrd.cpio", "user/hello.elf"):
            (images / name).write_bytes(b"stand-in")
    backend(stage, 'build_sdist("dist")')
    backend(stage, 'build_wheel("dist")')
    return stage / "dist"


def backend(folder: Path, call: str) -> None:
    """Run one call of the build backend in ``folder``, as pip would, in this interpreter's environment."""
    done = subprocess.run(
        [sys.executable, "-c", f"from setuptools import build_meta; build_meta.{call}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"setuptools build_meta.{call} failed:\n{done.stdout}{done.stderr}"


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_module_data_file_and_image(built: Path):
    (wheel,) = built.glob("*.whl")
    held = set(contents(wheel))
    missing = {str(installed_name(path)) for path in shipped()} - held
    assert not missing, f"modules of the checkout that the wheel lacks: {sorted(missing)}"
    data = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "keuos_hil").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and "images" not in path.parts
    }
    assert not data - held, f"data files that the wheel lacks; see package-data in pyproject.toml: {data - held}"
    for architecture in ARCHITECTURES:
        for name in ("keuos-release.elf", "keuos-hil.elf", "initrd.cpio", "user/hello.elf"):
            assert f"keuos_hil/images/{architecture}/{name}" in held


def test_the_wheel_holds_nothing_but_the_package(built: Path):
    (wheel,) = built.glob("*.whl")
    strangers = [name for name in contents(wheel) if not name.startswith("keuos_hil/")]
    assert not strangers, f"these would land beside the package in site-packages: {strangers}"


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path):
    (sdist,) = built.glob("*.tar.gz")
    shutil.unpack_archive(sdist, tmp_path)
    (unpacked,) = tmp_path.iterdir()
    backend(unpacked, 'build_wheel("dist")')
    (again,) = (unpacked / "dist").glob("*.whl")
    (wheel,) = built.glob("*.whl")
    assert contents(again) == contents(wheel)
