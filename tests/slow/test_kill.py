"""kill -9 at random moments: the project is W(t-1) or W(t), and the same request completes it."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from forked import finished, in_child
from tiny_model import write_tiny_model

from clora_ext import Pictures, Project, Request, Settings, add_concept
from clora_ext.formats.checkpoint import Checkpoint, content_hash

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = Settings.of(steps=12, rank=4, batch_size=2, warmup_steps=2, sample_steps=2)
MOMENTS = int(os.environ.get("CLORA_KILLS", "200"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_killed_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clora_ext.training.save_pace._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("clora_ext.training.save_pace._TRAINING_PER_SAVING", 0)
    base = write_tiny_model(tmp_path / "tiny.safetensors")
    pristine, project = tmp_path / "pristine", tmp_path / "model"
    first = Request(Pictures(EXAMPLES / "dog_images"), pristine, base=base, settings=SETTINGS)
    before = add_concept(first).content_hash
    other = SETTINGS.with_values(strategy="orthogonal")
    second = Request(Pictures(EXAMPLES / "robot_toy"), project, settings=other)

    shutil.copytree(pristine, project)
    began = time.monotonic()
    child = in_child(lambda: add_concept(second))
    assert finished(child) == 0
    duration = time.monotonic() - began
    after = Project.open(project).concepts[-1].content_hash

    rng = random.Random(20261123)
    found = {before: 0, after: 0}
    killed = 0
    for _ in range(MOMENTS):
        shutil.rmtree(project)
        shutil.copytree(pristine, project)
        child = in_child(lambda: add_concept(second))
        time.sleep(rng.uniform(0, 1.05 * duration))
        os.kill(child, signal.SIGKILL)
        killed += finished(child) < 0

        opened = Project.open(project)
        opened.verify()
        assert opened.checkpoint_path is not None
        state = opened.concepts[-1].content_hash
        assert state in found
        assert content_hash(Checkpoint(opened.checkpoint_path)) == state
        found[state] += 1

        assert finished(in_child(lambda: add_concept(second))) == 0  # completes it, or finds it done
        done = Project.open(project)
        assert done.number == 2
        assert done.concepts[-1].content_hash == after
        with Project.writing(project):
            pass
        litter = [
            path for path in project.rglob("*") if path.name.endswith(".partial") or "new." in path.name
        ]
        assert not litter
    print(f"{killed} of {MOMENTS} were killed; found W(t-1) {found[before]}, W(t) {found[after]} times")
    assert found[before]
    assert found[after]
