"""What is trained is what is folded, and nothing else stays in memory meanwhile."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from cases import check_each, empty_folder
from diffusers import AutoencoderKL, UNet2DConditionModel
from exact_state import exact_project
from small_runs import SETTINGS, another
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CLIPTextModel

from clora_ext import Request, add_concept, make_plan
from clora_ext.config.precision import Precision
from clora_ext.errors import UsageError
from clora_ext.events import Event, TrainStep
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.strategies.merge import Merge


def test_the_adapter_in_the_unet_is_the_one_that_is_folded(request_: Request) -> None:
    """What was trained (W(t-1) + delta inside peft) is what the checkpoint holds."""
    from clora_ext.training.adapters import Adapters

    seen: dict[str, torch.Tensor] = {}
    real = Adapters.factors

    def factors(adapters: Adapters) -> Any:
        for name, trained in real(adapters):
            seen[name] = trained.delta()
            yield name, trained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adapters, "factors", factors)
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


def alive(kind: type[torch.nn.Module]) -> list[bool]:
    """Of every module of a kind that there is: whether it holds memory."""
    gc.collect()
    modules = [one for one in gc.get_objects() if type(one) is kind]
    return [any(not parameter.is_meta for parameter in one.parameters()) for one in modules]


def test_while_it_trains_only_what_is_needed_holds_memory(request_: Request) -> None:
    """Previews need the VAE alone: what the text encoder says of their prompt is known."""
    cases: dict[str, tuple[dict[str, Any], tuple[bool, bool]]] = {
        "nothing else": ({}, (False, False)),
        "previews": ({"preview_every": 2}, (False, True)),
        "the text encoder learns": ({"text_encoder": True}, (True, False)),
        "both": ({"preview_every": 2, "text_encoder": True}, (True, True)),
    }

    def check(name: str) -> None:
        settings, expected = cases[name]
        folder = empty_folder(request_.project.parent) / "model"
        look = AtStep(
            3, lambda: [alive(kind) for kind in (CLIPTextModel, AutoencoderKL, UNet2DConditionModel)]
        )
        add_concept(replace(request_, project=folder, settings=SETTINGS.with_values(**settings)), look)
        texts, vaes, unets = look.seen
        assert (any(texts), any(vaes)) == expected
        assert unets == [True]

    check_each(cases, check)


def test_the_frozen_weights_are_in_memory_once(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """The float32 matrices that training starts from go when the model has its own, narrower ones."""
    half = Precision(torch.device("cpu"), torch.bfloat16, "a test")
    monkeypatch.setattr("clora_ext.config.precision.pick_precision", lambda: half)
    matrices: list[weakref.ref[torch.Tensor]] = []
    begin = Merge.begin

    def noted(self: Merge, *arguments: Any) -> Any:
        start = begin(self, *arguments)
        matrices.extend(weakref.ref(one) for one in (start.frozen, start.factors.down, start.factors.up))
        return start

    monkeypatch.setattr(Merge, "begin", noted)
    look = AtStep(1, lambda: [one() is not None for one in matrices])
    add_concept(replace(request_, settings=SETTINGS.with_values(strategy="merge")), look)
    assert len(look.seen) > 20
    assert not any(look.seen)


class Reading(TorchDispatchMode):
    """Notes which values are asked for by the program, each of which an accelerator would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.read.append(args[0])
        return func(*args, **(kwargs or {}))


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


def test_another_accelerator_and_its_variables_change_nothing(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ComfyUI or a notebook another program's settings are the whole process's."""
    plain = add_concept(replace(request_, project=request_.project.parent / "plain"))
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
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_one_of_several_processes_is_refused_before_anything_is_made(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for call in (make_plan, add_concept):
        with pytest.raises(UsageError, match=r"one of 2 processes .WORLD_SIZE"):
            call(request_)
    assert not request_.project.exists()
