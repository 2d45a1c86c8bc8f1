"""`clora add-concept` in two processes that torchrun has started: what they learn, and how they end."""

import csv
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from several import Launched, launch
from small_runs import pictures, snapshot
from tiny_flow import write_tiny_flow
from tiny_model import write_tiny_model

from clora_ext import Project
from clora_ext.project.lock import HOLDER

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")]

STEPS = 50
ENDED_WITHIN = 60  # seconds


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchrun")
    write_tiny_model(folder / "tiny.safetensors")
    pictures(folder / "dog_images", count=6)
    pictures(folder / "toy_images", count=3, seed=4)
    return folder


def teach(place: Path, project: str, *more: object, batch: int = 2, size: int = 2) -> Launched:
    """Start teaching."""
    settings = {"steps": STEPS, "rank": 4, "batch-size": batch, "sample-steps": 2, "targets": "attention"}
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    fixed = ("--project", project, "--base", "tiny.safetensors", "--keep-delta", "--seed", 3)
    return launch(["add-concept", *fixed, *options, *(more or ("dog_images",))], place, size)


def finished(place: Path, project: str, *more: object, batch: int = 2, size: int = 2) -> Launched:
    """Teach to the end; so many processes were there."""
    launched = teach(place, project, *more, batch=batch, size=size)
    assert launched.end() == 0, launched.text
    assert set(launched.workers) == set(range(size))
    assert len({one.pid for one in launched.workers.values()}) == size
    return launched


def adapter(place: Path, project: str) -> Path:
    """What the last concept has learned."""
    folder = place / project
    return folder / "deltas" / str(Project.open(folder).concepts[-1].delta)


def losses(place: Path, project: str) -> list[float]:
    """Of every step."""
    (curve,) = (place / project / "curves").glob("*.csv")
    with curve.open(encoding="utf-8", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def distance(one: Path, other: Path) -> float:
    """Of two adapters, relative to the first."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    off = torch.stack([(first[name] - second[name]).double().square().sum() for name in first]).sum()
    return float(
        (off / torch.stack([value.double().square().sum() for value in first.values()]).sum()).sqrt()
    )


@pytest.mark.parametrize("strategy", ["merge", "distill", "gram"])
def test_two_learn_what_one_learns_with_twice_the_batch(strategy: str, place: Path) -> None:
    asked = ("--strategy", strategy, "dog_images")
    two = finished(place, f"{strategy} two", *asked)
    assert "50 steps of 4 (2 in each of 2 processes)" in two.text
    finished(place, f"{strategy} again", *asked)
    finished(place, f"{strategy} one", *asked, batch=4, size=1)
    first, again, one = (adapter(place, f"{strategy} {name}") for name in ("two", "again", "one"))
    assert first.read_bytes() == again.read_bytes()
    assert distance(first, one) < 1e-5
    assert losses(place, f"{strategy} two") == pytest.approx(losses(place, f"{strategy} one"), rel=1e-5)
    print(f"{strategy}: two processes against one, relative: {distance(first, one):.1e}")


@pytest.mark.parametrize("strategy", ["merge", "distill"])
def test_two_that_share_the_weights_out_learn_what_one_learns(strategy: str, place: Path) -> None:
    """A transformer of flow matching, of which each has half."""
    base = write_tiny_flow(place / strategy).transformer
    less = ("--steps", 8, "--sheet", "none", "--kept-count", 0)
    asked = ("--base", base, "--resolution", 16, "--strategy", strategy, *less, "dog_images")
    two = finished(place, f"{strategy} shards", "--shard", *asked)
    assert "weights shared out over 2 processes" in two.text
    finished(place, f"{strategy} shards again", "--shard", *asked)
    finished(place, f"{strategy} whole", *asked)
    finished(place, f"{strategy} whole alone", *asked, batch=4, size=1)
    first, again, whole, one = (
        adapter(place, f"{strategy} {name}") for name in ("shards", "shards again", "whole", "whole alone")
    )
    assert first.read_bytes() == again.read_bytes() == whole.read_bytes()
    assert distance(first, one) < 1e-5
    print(f"{strategy}: two processes with shards against one, relative: {distance(first, one):.1e}")


def test_stopped_and_resumed_two_learn_the_same_bits(place: Path) -> None:
    """SIGTERM to torchrun, which passes it on to both."""
    asked = ("--strategy", "distill", "--steps", 80, "--json", "dog_images")
    stopped = teach(place, "stopped", *asked)
    stopped.wait_for('"step": 5,')
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.end(ENDED_WITHIN) != 0
    assert set(stopped.workers) == {0, 1}
    left = Project.open(place / "stopped").unfinished
    assert left is not None
    assert f"stopped at step {left.step} of 80; saved" in stopped.text
    assert "run the same command again to go on" in stopped.text
    assert not (place / "stopped" / HOLDER).exists()
    resumed = finished(place, "stopped", *asked)
    assert f"going on from step {left.step} of 80" in resumed.text
    finished(place, "straight", *asked)
    assert adapter(place, "stopped").read_bytes() == adapter(place, "straight").read_bytes()


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_all_and_leaves_the_model_before(killed: int, place: Path) -> None:
    project = f"killed {killed}"
    finished(place, project, "--strategy", "merge", "--steps", 3, "dog_images")
    before = snapshot(place / project)
    asked = ("--strategy", "merge", "--steps", 3000, "--json", "toy_images")
    second = teach(place, project, *asked)
    second.wait_for("train_step")
    second.look()
    began = time.monotonic()
    second.workers[killed].send_signal(signal.SIGKILL)
    assert second.end(ENDED_WITHIN) != 0
    _, alive = psutil.wait_procs(list(second.workers.values()), timeout=ENDED_WITHIN)
    took = time.monotonic() - began
    print(f"killed process {killed + 1}: all had ended after {took:.1f} s")
    assert not alive
    assert took < ENDED_WITHIN
    assert f"process {killed + 1} of 2 (number {second.workers[killed].pid} on" in second.text
    assert snapshot(place / project) == before
    opened = Project.open(place / project)
    opened.verify()
    if killed:  # the first one has saved what there was
        assert opened.unfinished is not None
        assert not (place / project / HOLDER).exists()
    finished(place, project, "--strategy", "merge", "--steps", 3, "toy_images")
    assert Project.open(place / project).number == 2


def test_processes_that_lose_their_launcher_end(place: Path) -> None:
    """Nobody sends them a signal: they notice that their store has gone."""
    lost = teach(place, "lost", "--strategy", "merge", "--steps", 3000, "--json", "dog_images")
    lost.wait_for("train_step")
    lost.look()
    lost.process.kill()
    lost.process.wait()
    _, alive = psutil.wait_procs(list(lost.workers.values()), timeout=ENDED_WITHIN)
    assert not alive
    assert "the launcher, or process 1" in lost.text
    assert Project.open(place / "lost").unfinished is not None
