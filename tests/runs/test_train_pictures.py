"""What is trained is what is folded, and nothing else stays in memory meanwhile."""

import gc
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from cases import check_each, empty_folder
from diffusers import AutoencoderKL, UNet2DConditionModel
from exact_state import exact_project
from learned import Learned
from small_runs import SETTINGS, another
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CLIPTextModel

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.config.precision import Precision
from clora_ext.errors import UsageError
from clora_ext.events import Event, TrainStep, ignore
from clora_ext.families.latent.model import LatentDiffusion
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.sampling.contact_sheet import fitted, read_cells
from clora_ext.sampling.samples import SamplePrompt
from clora_ext.strategies.merge import Merge


def test_the_adapter_in_the_unet_is_the_one_that_is_folded(request_: Request) -> None:
    """What was trained (W(t-1) + delta inside peft) is what the checkpoint holds."""
    from clora_ext.training.adapters import Adapters

    seen: dict[str, torch.Tensor] = {}
    real = Adapters.learned

    def learned(adapters: Adapters) -> Any:
        for name, trained in real(adapters):
            seen[name] = trained.delta()
            yield name, trained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adapters, "learned", learned)
        settings = SETTINGS.with_values(alpha=2.0, strategy="merge")
        add_concept(replace(request_, settings=settings))
    exact = exact_project(request_.project)
    base = Checkpoint(make_plan(another(request_, "cat_images")).context.base_file)
    for name, delta in seen.items():
        torch.testing.assert_close(exact[name], base.read_float(name) + delta)


class AtStep:
    """A sink that looks around after a training step."""

    def __init__(self, step: int, look: Callable[[], Any]) -> None:
        self.step, self.look, self.seen = step, look, None

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainStep) and event.step == self.step:
            self.seen = self.look()


def modules_of(kinds: Sequence[type[torch.nn.Module]]) -> list[torch.nn.Module]:
    """Every module of these kinds that there is."""
    gc.collect()
    return [one for one in gc.get_objects() if type(one) in kinds]


def alive(kind: type[torch.nn.Module], others: Collection[torch.nn.Module]) -> list[bool]:
    """Of every module of a kind, but for others: whether it holds memory."""
    found = [one for one in modules_of([kind]) if one not in others]
    return [any(not parameter.is_meta for parameter in one.parameters()) for one in found]


@pytest.mark.long
def test_the_accelerator_holds_a_vae_only_while_it_has_something_to_do(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is drawn or encoded in between, it lies aside from the first step to the last."""
    told: list[str] = []
    for name in ("lay_vae_aside", "fetch_vae"):
        monkeypatch.setattr(LatentDiffusion, name, lambda model, name=name: told.append(name))

    def look(event: Event) -> None:
        if isinstance(event, TrainStep):
            told.append("step")

    def check(case: tuple[dict[str, Any], bool]) -> None:
        settings, aside = case
        told.clear()
        folder = empty_folder(request_.project.parent) / "model"
        add_concept(replace(request_, project=folder, settings=SETTINGS.with_values(**settings)), look)
        assert told == ["lay_vae_aside"] * aside + ["step"] * 6 + ["fetch_vae"]

    check_each([({}, True), ({"preview_every": 5}, False), ({"random_crop": True}, False)], check)


@pytest.mark.long
def test_the_model_before_is_what_the_checkpoint_before_draws(request_: Request, tmp_path: Path) -> None:
    """Drawn after the training with the adapters as they began: what a model that is loaded draws."""
    settings = SETTINGS.with_values(strategy="distill", learning_rate=0.02, text_encoder=True, sample_count=2)
    first = replace(request_, settings=settings)
    add_concept(first)
    before = tmp_path / "before.safetensors"
    before.write_bytes(Project.open(first.project).checkpoint_path.read_bytes())  # type: ignore[union-attr]
    second = another(first, "cat_images")
    result = add_concept(second)
    cells = read_cells(result.sheet, 2)
    assert cells is not None
    plan = make_plan(replace(second, project=tmp_path / "other", base=before))
    family, header = plan.context.family, Checkpoint(before)
    model = family.load(header, Precision(torch.device("cpu"), torch.float32, "a test"))
    drawn = SamplePrompt(result.trigger_prompt, plan.sample_size, settings.sampling).sample(model, ignore)
    for cell, picture in zip(cells[0], drawn, strict=True):
        difference = np.abs(np.asarray(cell, float) - np.asarray(fitted(picture, plan.sample_size), float))
        assert difference.mean() < 1.5
    far = np.abs(np.asarray(cells[1][0], float) - np.asarray(cells[0][0], float)).mean()
    assert far > 3


@pytest.mark.long
def test_while_it_trains_only_what_is_needed_holds_memory(request_: Request) -> None:
    """What is drawn needs the VAE alone: what the text encoder says of the prompts is known."""
    cases: dict[str, tuple[dict[str, Any], bool]] = {
        "nothing else": ({}, False),
        "previews": ({"preview_every": 2}, False),
        "the text encoder learns": ({"text_encoder": True}, True),
        "both": ({"preview_every": 2, "text_encoder": True}, True),
    }

    def check(name: str) -> None:
        settings, text_stays = cases[name]
        folder = empty_folder(request_.project.parent) / "model"
        kinds = (CLIPTextModel, AutoencoderKL, UNet2DConditionModel)
        others = weakref.WeakSet(modules_of(kinds))  # what earlier tests have left
        look = AtStep(3, lambda: [alive(kind, others) for kind in kinds])
        add_concept(replace(request_, project=folder, settings=SETTINGS.with_values(**settings)), look)
        texts, vaes, unets = look.seen
        assert any(texts) == text_stays
        assert (vaes, unets) == ([True], [True])

    check_each(cases, check)


@pytest.mark.long
def test_the_frozen_weights_are_in_memory_once(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float32 matrix that training starts from goes as soon as the model has its own, narrower one."""
    half = Precision(torch.device("cpu"), torch.bfloat16, "a test")
    monkeypatch.setattr("clora_ext.config.precision.pick_precision", lambda: half)
    matrices: list[weakref.ref[torch.Tensor]] = []
    frozen: list[weakref.ref[torch.Tensor]] = []
    at_once: list[int] = []
    begin = Merge.begin

    def noted(self: Merge, *arguments: Any) -> Any:
        start = begin(self, *arguments)
        at_once.append(sum(one() is not None for one in frozen))
        frozen.append(weakref.ref(start.frozen))
        matrices.extend(weakref.ref(one) for one in (start.frozen, start.factors.down, start.factors.up))
        return start

    monkeypatch.setattr(Merge, "begin", noted)
    look = AtStep(1, lambda: [one() is not None for one in matrices])
    add_concept(replace(request_, settings=SETTINGS.with_values(strategy="merge")), look)
    assert len(look.seen) > 20
    assert not any(look.seen)
    assert max(at_once) <= 1
    assert len(at_once) > 20


class Reading(TorchDispatchMode):
    """Notes which values are asked for by the program, each of which an accelerator would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.read.append(args[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.long
def test_a_step_asks_for_nothing_that_was_computed_before_it_is_over(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and norm are read together at its end. (Adam's own counts lie on the processor.)"""
    from clora_ext.training import loop

    asked: list[int] = []
    step, read = loop._Run.step, loop._read

    def watched(run: Any, number: int, rate: float) -> float:
        counts = {id(one["step"]) for one in run._optimizer.parts[0].state.values()}
        with Reading() as reading:
            loss = step(run, number, rate)
        found = {id(one["step"]) for one in run._optimizer.parts[0].state.values()} | counts
        asked.append(sum(id(tensor) not in found for tensor in reading.read))
        return loss

    together: list[tuple[float, float]] = []

    def noted(loss: torch.Tensor, norm: torch.Tensor) -> tuple[float, float]:
        together.append(read(loss, norm))
        return together[-1]

    monkeypatch.setattr(loop._Run, "step", watched)
    monkeypatch.setattr(loop, "_read", noted)
    add_concept(request_)
    assert asked == [0] * 6
    assert len(together) == 6


@pytest.mark.long
def test_another_accelerator_and_its_variables_change_nothing(
    request_: Request, monkeypatch: pytest.MonkeyPatch, learned: Learned
) -> None:
    """In ComfyUI or a notebook another program's settings are the whole process's."""
    plain = learned(replace(request_, project=request_.project.parent / "plain"))
    for name, value in {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_USE_CPU": "true",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        with monkeypatch.context() as patch:
            patch.delenv("WORLD_SIZE")
            patch.delenv("RANK")
            other = Accelerator(mixed_precision="bf16", cpu=True)
        assert add_concept(request_).content_hash == plain.content_hash
        assert other.mixed_precision == "bf16"
        other.state.destroy_process_group()  # the variables had it open one
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_a_process_that_does_not_know_its_place_is_refused_before_anything_is_made(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for call in (make_plan, add_concept):
        with pytest.raises(UsageError, match=r"one of 2 processes .WORLD_SIZE"):
            call(request_)
    assert not request_.project.exists()
