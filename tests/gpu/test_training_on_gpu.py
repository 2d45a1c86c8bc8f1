"""A tiny model taught on a GPU: the same arithmetic, resumption, one wait a step, nothing left behind."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cards import HALVES, on_card, on_processor
from small_runs import SETTINGS, pictures, stop_at
from tiny_model import RESOLUTION, write_tiny_model

from clora_ext import GenerateRequest, Pictures, Project, Request, add_concept, families, generate
from clora_ext.config.precision import Precision, pick_precision
from clora_ext.errors import Cancelled, OutOfMemory
from clora_ext.events import Event, TrainStep
from clora_ext.families.model import SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint

pytestmark = pytest.mark.gpu

CPU = Precision(torch.device("cpu"), torch.float32, "a test")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def request_(tiny: Path, tmp_path: Path) -> Request:
    images = pictures(tmp_path / "dog_images")
    return Request(Pictures(images), tmp_path / "model", base=tiny, settings=SETTINGS)


@pytest.fixture(autouse=True)
def all_of_the_card() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")
    torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()


def losses_of(request: Request) -> list[float]:
    """Of all steps that are still to do."""
    found: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, TrainStep):
            found.append(event.loss)

    add_concept(request, note)
    return found


def test_a_model_is_loaded_onto_the_card_and_encodes_what_the_processor_encodes(tiny: Path) -> None:
    card, processor = (
        families.load("sd1").load(Checkpoint(tiny), precision) for precision in (pick_precision(), CPU)
    )
    assert {parameter.device.type for parameter in card.denoiser.parameters()} == {"cuda"}
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for mine, theirs in zip(card.encode_images(pixels), processor.encode_images(pixels), strict=True):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-2, atol=1e-2)
    cut = SizeConditioning((32, 32), (0, 0), (32, 32))
    mine, theirs = (model.condition(["a photo of sks dog"], [cut])["states"] for model in (card, processor))
    torch.testing.assert_close(mine.detach().float().cpu(), theirs.detach(), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("half", HALVES)
def test_steps_on_the_card_are_those_of_the_processor(
    request_: Request, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    on_card(monkeypatch, half)
    found = losses_of(request_)
    on_processor(monkeypatch)
    expected = losses_of(replace(request_, project=request_.project.parent / "processor"))
    assert found == pytest.approx(expected, rel=0.05)
    assert found != expected


@pytest.mark.parametrize("half", HALVES)
def test_a_run_goes_on_with_equal_losses(
    request_: Request, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    on_card(monkeypatch, half)
    straight = losses_of(replace(request_, project=request_.project.parent / "straight"))
    with pytest.raises(Cancelled):
        add_concept(request_, stop_at(3))
    assert losses_of(request_) == pytest.approx(straight[3:], rel=1e-3)


def test_weights_in_the_machines_memory_teach_the_same(request_: Request) -> None:
    asked = replace(request_, settings=SETTINGS.with_values(gradient_checkpointing=True))
    away = replace(asked, settings=SETTINGS.with_values(offload_base=True), project=asked.project / "away")
    torch.cuda.reset_peak_memory_stats()
    expected = losses_of(replace(asked, project=asked.project / "plain"))
    usual = torch.cuda.max_memory_allocated()
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    assert losses_of(away) == pytest.approx(expected, rel=1e-3)
    assert torch.cuda.max_memory_allocated() < usual


@pytest.mark.parametrize("half", HALVES)
def test_a_step_waits_for_the_card_once(
    request_: Request, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    """Where loss and norm are read; the first two steps also make what later ones use."""
    from clora_ext.training import loop

    on_card(monkeypatch, half)
    step, read = loop._Run.step, loop._read

    def watched(run: Any, number: int, rate: float) -> float:
        torch.cuda.set_sync_debug_mode("error" if number >= 2 else "default")
        try:
            return step(run, number, rate)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def reading(loss: torch.Tensor, norm: torch.Tensor) -> tuple[float, float]:
        torch.cuda.set_sync_debug_mode("default")
        return read(loss, norm)

    monkeypatch.setattr(loop._Run, "step", watched)
    monkeypatch.setattr(loop, "_read", reading)
    settings = SETTINGS.with_values(text_encoder=True)
    assert len(losses_of(replace(request_, settings=settings))) == 6


def test_in_bf16_adams_steps_stay_on_the_processor_after_a_resume(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clora_ext.training import loop

    on_card(monkeypatch, "bf16")
    with pytest.raises(Cancelled):
        add_concept(request_, stop_at(3))
    places: set[str] = set()
    step = loop._Run.step

    def watched(run: Any, number: int, rate: float) -> float:
        places.update(one["step"].device.type for one in run._optimizer.parts[0].state.values())
        return step(run, number, rate)

    monkeypatch.setattr(loop._Run, "step", watched)
    add_concept(request_)
    assert places == {"cpu"}


def test_a_picture_is_drawn_from_the_same_noise_as_on_the_processor(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    drawing = GenerateRequest("a dog", count=1, steps=3, size=RESOLUTION)
    files = [generate(tiny, drawing, tmp_path / "card.png")[0]]
    on_processor(monkeypatch)
    files.append(generate(tiny, drawing, tmp_path / "processor.png")[0])
    mine, theirs = (np.asarray(Image.open(file).convert("RGB"), dtype=np.int16) for file in files)
    assert np.abs(mine - theirs).mean() < 8


def test_a_run_that_does_not_fit_says_so_and_goes_on_when_it_does(request_: Request) -> None:
    """A real shortage: the process may not have more than what it had when training began."""
    settings = SETTINGS.with_values(resolution=512, batch_size=8)
    request = replace(request_, settings=settings)

    def starve(event: Event) -> None:
        if isinstance(event, TrainStep) and event.step == 2:
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / total)

    with pytest.raises(OutOfMemory) as caught:
        add_concept(request, starve)
    assert "out of memory while training step 3: " in caught.value.message
    assert torch.cuda.get_device_name() in caught.value.message
    assert caught.value.fix.startswith("try --gradient-checkpointing, --batch-size 4, --resolution 384")
    assert "goes on from step 2" in caught.value.fix
    torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(losses_of(request)) == 4


def test_a_run_leaves_nothing_on_the_card(request_: Request) -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    add_concept(replace(request_, settings=SETTINGS.with_values(preview_every=3)))
    gc.collect()
    assert torch.cuda.memory_allocated() - before < 1 << 20
    assert Project.open(request_.project).number == 1
