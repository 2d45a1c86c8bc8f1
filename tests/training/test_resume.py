# ruff: noqa: TID251 - SIGTERM is answered by the command line's own handler
"""Every optimiser, with all else that a training remembers, stopped and killed at random steps: same bits.

CLORA_STOPS=20 stops every combination so often; else six times, three in a row. The first stop is after the
first step, when an optimiser has just begun to keep anything. Steps are saved after each, or now and then, so
that a killed run begins again some steps before.
"""

import hashlib
import os
import random
import signal
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from clora_ext.cli.stopping import gently
from forked import finished, in_child
from small_runs import SETTINGS, pictures, with_settings
from tiny_model import write_tiny_model

from clora_ext import Pictures, Request, add_concept
from clora_ext.config.algorithm_settings import OPTIMIZERS
from clora_ext.events import Event, TrainStep

STEPS = 22
STOPS = int(os.environ.get("CLORA_STOPS", "6"))
IN_A_ROW = 3
SECONDS_PER_SAVING = (0.0, 0.15, 20.0)  # after each step, some, none before the end
BESIDE: dict[str, dict[str, Any]] = {
    "accumulation": {"gradient_accumulation_steps": 3},
    "dropouts": {
        "network_dropout": 0.1,
        "rank_dropout": 0.1,
        "module_dropout": 0.1,
        "caption_dropout": 0.3,
    },
    "average": {"ema_decay": 0.9},
    "samples": {"preview_every": 7},
    "validation": {"validation_split": 0.34, "validate_every": 5, "keep_best": True},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore"),  # of the libraries, and of forking
]


def stop(request: Request, step: int, later: float, number: int) -> None:
    """Train up to a step and a moment more, then be sent a signal."""
    timer = threading.Timer(later, os.kill, (os.getpid(), number))

    def sink(event: Event) -> None:
        if isinstance(event, TrainStep) and event.step == step:
            timer.start()

    with gently() as asked:
        add_concept(request, asked.watched(sink))
        timer.cancel()


def adapter(request: Request) -> str:
    """What a finished run has learned, as a hash of its float32 factors."""
    (delta,) = (request.project / "deltas").glob("*.safetensors")
    return hashlib.sha256(delta.read_bytes()).hexdigest()


def usable(optimizer: str, beside: str) -> bool:
    """Whether the two go together."""
    return beside != "average" or not OPTIMIZERS[optimizer].averages


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    folder = tmp_path_factory.mktemp("resume")
    base = write_tiny_model(folder / "tiny.safetensors")
    source = Pictures(pictures(folder / "dog_images", count=6))
    settings = SETTINGS.with_values(strategy="distill", steps=STEPS, batch_size=2)
    return Request(source, folder / "model", base=base, settings=settings, keep_delta=True)


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_stopped_and_killed_runs_learn_the_same(
    request_: Request, optimizer: str, beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = OPTIMIZERS[optimizer]
    if find_spec(kind.module.partition(".")[0]) is None:
        pytest.skip(f"needs {kind.package}")
    if not usable(optimizer, beside):
        pytest.skip("averages by itself")
    monkeypatch.setattr("clora_ext.training.save_pace._TRAINING_PER_SAVING", 0)
    rate = 1.0 if kind.own_rate else 2e-3
    asked = with_settings(request_, optimizer_type=optimizer, learning_rate=rate, **BESIDE[beside])
    plain = asked if beside != "samples" else with_settings(asked, preview_every=0)
    straight = replace(plain, project=tmp_path / "straight")
    assert finished(in_child(lambda: add_concept(straight))) == 0
    rng = random.Random(f"{optimizer} {beside}")
    for number in range(STOPS // IN_A_ROW):
        stopped = replace(asked, project=tmp_path / f"stopped{number}")
        steps = sorted(rng.sample(range(1, STEPS), IN_A_ROW))
        for step in steps if number else [1, *steps[1:]]:
            monkeypatch.setattr("clora_ext.training.save_pace._LEAST_SECONDS", rng.choice(SECONDS_PER_SAVING))
            end, later = rng.choice([signal.SIGTERM, signal.SIGKILL]), rng.uniform(0, 0.05)
            status = finished(in_child(lambda: stop(stopped, step, later, end)))  # noqa: B023 - called here
            assert status in ({-signal.SIGKILL, 0} if end == signal.SIGKILL else {0, 1})
        assert finished(in_child(lambda: add_concept(stopped))) == 0  # noqa: B023 - called here
        assert adapter(stopped) == adapter(straight)
