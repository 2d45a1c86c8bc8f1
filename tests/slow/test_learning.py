"""The demo model really learns: measured by the scorer on pictures and prompts that no training has seen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clora_ext import Project, Settings
from clora_ext.data import name_concept
from clora_ext.families.hub import DEMO_MODEL

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import measure_forgetting as study  # noqa: E402 - a script beside the package


@pytest.mark.slow
def test_every_concept_closes_most_of_the_way_to_its_pictures(tmp_path: Path) -> None:
    scorer = study.load_demo_scorer()
    asked, taken = {}, []
    for folder in study.FOLDERS:
        concept = name_concept(EXAMPLES / folder, token=None, class_name=None, taken=taken)
        taken.append(concept.token)
        asked[folder] = study.questions(folder, concept)
    base = study.load(DEMO_MODEL)
    floor = {name: study.score(base, scorer, asked[name]) for name in study.FOLDERS}
    top = {name: study.ceiling(base, scorer, asked[name]) for name in study.FOLDERS}
    settings = Settings()
    rows = study.run(settings, tmp_path, asked, scorer, [settings.strategy])[settings.strategy]
    learned = {name: value["learned"] for name, value in study.summary(rows, floor, top).items()}
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
