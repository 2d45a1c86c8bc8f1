"""Bugs that others really shipped, planted one at a time: each must make a test fail.

The table in CONTRIBUTING.md lists the same bugs; this keeps it true.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from planted_bug import Bug
from planted_bugs import BUGS

ROOT = Path(__file__).parents[2]


def copy_of_the_tree(folder: Path) -> Path:
    """Engine, tests and configuration; what the examples hold is not needed."""
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "clora_ext", folder / "clora_ext", ignore=ignore)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignore)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


def test_every_bug_has_its_place_in_the_code_and_in_the_table() -> None:
    lost = [
        bug.name for bug in BUGS if (ROOT / "clora_ext" / bug.file).read_text("utf-8").count(bug.good) != 1
    ]
    assert not lost, "their code has changed: plant these anew"
    rows = [line.split("|")[1].strip() for line in (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()
            if line.startswith("| ") and ".py` " in line]  # fmt: skip
    assert {bug.name for bug in BUGS} == set(rows) & {bug.name for bug in BUGS}


_HERE = "not slow and not gpu and not benchmark and not comfyui"  # long tests, too


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(bug: Bug, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    file = tree / "clora_ext" / bug.file
    source = file.read_text(encoding="utf-8")
    assert source.count(bug.good) == 1, f"{bug.file} has changed: plant the bug {bug.name!r} anew"
    file.write_text(source.replace(bug.good, bug.bad), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", _HERE, bug.tests]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    outcome = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 1, outcome.stdout[-3000:]
    assert " failed" in outcome.stdout
