"""Requests to teach a tiny real model, and what is compared before and after."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clora_ext import Estimate, Pictures, Plan, Project, Request, Result, Settings
from clora_ext.errors import Cancelled
from clora_ext.events import Event, TrainStep

SETTINGS = Settings.of(
    strategy="mask",
    steps=6,
    rank=4,
    batch_size=2,
    seed=3,
    warmup_steps=2,
    targets="attention",
    sample_steps=2,
    sample_count=1,
    kept_count=0,
)

FLOW = SETTINGS.with_values(  # of a tiny model of flow matching
    steps=4, resolution=16, targets="transformer", sample_steps=1
)


def by_strategy(name: str) -> dict[str, Any]:
    """Settings of a run by this strategy; what it measures, it measures by few draws."""
    few = {"gram": {"drawings": 2}, "ewc": {"draws": 5}}
    return {"strategy": name, "strategy_options": few.get(name, {})}


@dataclass(frozen=True)
class Taught:
    """What was asked, planned, said of it before, and done."""

    asked: Request
    plan: Plan
    told: Estimate
    done: Result


def pictures(folder: Path, count: int = 3, seed: int = 0) -> Path:
    """A new folder of noise in several shapes."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 255, (40, 32 + 16 * number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def another(request: Request, name: str, seed: int = 1) -> Request:
    """The same with other pictures, for the concept after."""
    return replace(with_source(request, folder=pictures(request.project.parent / name, seed=seed)), base=None)


def folder_of(request: Request) -> Path:
    """Where the request's pictures lie."""
    assert isinstance(request.source, Pictures)
    return request.source.folder


def with_source(request: Request, **changes: Any) -> Request:
    """The same request, but for these fields of its source."""
    return replace(request, source=replace(request.source, **changes))


def with_settings(request: Request, **values: Any) -> Request:
    """The same request, but for these knobs."""
    return replace(request, settings=(request.settings or Settings()).with_values(**values))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file that is part of the project's state."""
    names = ("manifest.json", "checkpoints", "memory", "sheets")
    files = (path for name in names for path in [folder / name, *(folder / name).rglob("*")])
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def stop_at(step: int) -> Callable[[Event], None]:
    """A sink that stops the run after a training step."""

    def sink(event: Event) -> None:
        if isinstance(event, TrainStep) and event.step == step:
            raise Cancelled

    return sink


def memory_of(project: Path) -> Path:
    """The file of the current state's memory."""
    path = Project.open(project).memory_path
    assert path is not None
    return path
