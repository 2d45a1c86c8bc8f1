"""What people install is what is in the tree: nothing forgotten, nothing at the top level but the engine."""

import ast
import configparser
import importlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = PYPROJECT["tool"]["setuptools"]["package-dir"]  # package -> folder


def installed_name(file: Path) -> str:
    """Give the path inside the wheel of a file in the tree."""
    relative = file.relative_to(ROOT)
    package = next(package for package, folder in FOLDERS.items() if relative.parts[0] == folder)
    return Path(*package.split("."), *relative.parts[1:]).as_posix()


def shipped_files() -> list[Path]:
    """List what the packages' folders hold, build leftovers aside."""
    files = (file for folder in FOLDERS.values() for file in (ROOT / folder).rglob("*") if file.is_file())
    return sorted(file for file in files if "__pycache__" not in file.parts)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy: a `build` folder of an earlier build would end up in it."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = built.glob("*.whl")
    return zipfile.ZipFile(file)


def test_wheel_has_only_the_engine_at_its_top_level(wheel: zipfile.ZipFile) -> None:
    version = PYPROJECT["project"]["version"]
    assert {name.split("/")[0] for name in wheel.namelist()} == {"clora_ext", f"clora-{version}.dist-info"}


def test_wheel_holds_every_file_of_the_packages_and_no_other(wheel: zipfile.ZipFile) -> None:
    inside = {name for name in wheel.namelist() if name.startswith("clora_ext/") and not name.endswith("/")}
    assert inside == {installed_name(file) for file in shipped_files()}


def test_wheel_holds_both_drivers_under_the_engine(wheel: zipfile.ZipFile) -> None:
    assert {"clora_ext/cli/__init__.py", "clora_ext/comfyui_nodes/__init__.py"} <= set(wheel.namelist())


def test_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    assert "clora_ext/py.typed" in wheel.namelist()


def test_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    entries = configparser.ConfigParser()
    entries.read_string(wheel.read(name).decode())
    assert dict(entries["console_scripts"]) == {"clora": "clora_ext.cli.app:main"}


def test_every_package_on_disk_is_listed() -> None:
    modules = (installed_name(file) for file in shipped_files() if file.name == "__init__.py")
    on_disk = {module.removesuffix("/__init__.py").replace("/", ".") for module in modules}
    listed = set(PYPROJECT["tool"]["setuptools"]["packages"])
    data = {
        package
        for package in listed
        if package in FOLDERS and not (ROOT / FOLDERS[package] / "__init__.py").exists()
    }
    assert {package.rpartition(".")[2] for package in data} == {"example_workflows", "locales"}
    assert on_disk == listed - data


def test_every_folder_with_code_is_a_package() -> None:
    folders = {file.parent for file in shipped_files() if file.suffix == ".py"}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.long
def test_every_imported_distribution_is_declared() -> None:
    named_otherwise = {
        "PIL": "pillow",
        "annotated_types": "annotated-types",
        "huggingface_hub": "huggingface-hub",
        "pydantic_core": "pydantic-core",
        "yaml": "pyyaml",
    }
    by_comfyui = {"comfy", "comfy_api", "comfy_execution", "comfyui_version", "folder_paths"}
    given = {*sys.stdlib_module_names, "tomllib", "clora_ext", *by_comfyui}  # Python 3.10 has tomli instead
    imported = set[str]()
    for file in shipped_files():
        if file.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    needed = {named_otherwise.get(name, name) for name in imported - given}
    extras = PYPROJECT["project"]["optional-dependencies"]
    lines = [*PYPROJECT["project"]["dependencies"], *extras["study"], *extras["wandb"]]
    declared = {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in lines}
    assert needed <= declared


def test_every_dependency_has_a_tested_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines if line and not line.startswith("#")}
    declared = [
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"]["dev"],
        *PYPROJECT["project"]["optional-dependencies"]["pictures"],
    ]
    assert {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in declared} <= pinned


def test_public_names_are_importable() -> None:
    engine = importlib.import_module("clora_ext")
    assert len(set(engine.__all__)) == len(engine.__all__) > 0
    for name in engine.__all__:
        assert getattr(engine, name) is not None
    assert set(engine.__all__) <= set(dir(engine))
