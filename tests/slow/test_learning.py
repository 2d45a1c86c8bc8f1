"""The demo model really learns: measured by the scorer on pictures and prompts that no training has seen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clora_ext import Project, Settings

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_every_concept_closes_most_of_the_way_to_its_pictures(tmp_path: Path) -> None:
    output = tmp_path / "forgetting"
    script = EXAMPLES / "measure_forgetting.py"
    command = [sys.executable, str(script), "--output", str(output), "--strategies", Settings().strategy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = json.loads((output / "figures.json").read_text(encoding="utf-8"))["summary"].values()
    learned = {name: value["learned"] for name, value in found.items()}
    assert len(learned) == 3
    assert all(value >= 0.6 for value in learned.values()), learned


@pytest.mark.slow
def test_the_python_example_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "python_api.py")]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert Project.open(tmp_path / "clora-model").tokens == ("sks",)
    assert "loss" in done.stdout
