"""Out of memory at any stage: one error with what was being done and what is left to try; the run goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from cases import check_each, empty_folder
from diffusers.models.autoencoders.vae import Decoder, Encoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from learned import Learned
from small_runs import SETTINGS, snapshot
from torch import nn
from torch.nn.modules import module as hooks

from clora_ext import GenerateRequest, Request, add_concept, generate
from clora_ext.errors import OutOfMemory
from clora_ext.events import Event, Preview, Stage, TrainStep

MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"


@contextmanager
def failing(kind: type[nn.Module], *, when: Callable[[nn.Module], bool]) -> Iterator[None]:
    """Modules of a kind have no room to compute."""

    def refuse(module: nn.Module, inputs: object) -> None:
        if isinstance(module, kind) and when(module):
            raise torch.OutOfMemoryError(MESSAGE)

    handle = hooks.register_module_forward_pre_hook(refuse)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def failing_to_load() -> Iterator[None]:
    """Weights have no place to go to."""

    def refuse(module: nn.Module, name: str, parameter: Any) -> None:
        if parameter is not None and not parameter.is_meta:
            raise torch.OutOfMemoryError(MESSAGE)

    handle = hooks.register_module_parameter_registration_hook(refuse)
    try:
        yield
    finally:
        handle.remove()


class Course:
    """What a run has told so far."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.first_step = 0
        self.steps = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Stage):
            self.stages.append(f"{event.name} {event.detail}".strip())
        if isinstance(event, TrainStep):
            self.first_step = self.first_step or event.step
            self.steps = event.step


@dataclass(frozen=True)
class Case:
    """A stage, how it fails, and what is said of it."""

    stage: str
    fails: Callable[[Course], Any]
    remedies: str
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return self.stage


def at_step(course: Course, step: int) -> Any:
    return failing(UNet2DConditionModel, when=lambda unet: unet.training and course.steps == step)


CASES = (
    Case("loading the model", lambda course: failing_to_load(), "close other programs", {}),
    Case(
        "drawing pictures of 32 px",
        lambda course: failing(Decoder, when=lambda _: course.stages[-1:] == ["sample before"]),
        "try --resolution 24; or close",
        {},
    ),
    Case(
        "encoding the pictures",
        lambda course: failing(Encoder, when=lambda _: True),
        "try --resolution 24; or close",
        {},
    ),
    Case(
        "training step 1",
        lambda course: at_step(course, 0),
        "try --gradient-checkpointing, --batch-size 1, --fp8-base, --resolution 24, in this order; or close",
        {},
    ),
    Case(
        "training step 4",
        lambda course: at_step(course, 3),
        "try --fp8-base, --resolution 24, leaving out --text-encoder, in this order; or close",
        {"gradient_checkpointing": True, "batch_size": 1, "text_encoder": True},
    ),
    Case(
        "drawing pictures of 32 px",
        lambda course: failing(Decoder, when=lambda _: course.stages[-1] == "sample after"),
        "try --resolution 24; or close",
        {},
    ),
)


@pytest.mark.long
def test_out_of_memory_says_what_was_done_and_what_helps_and_the_run_goes_on(request_: Request) -> None:
    straight: dict[str, str] = {}

    def check(case: Case) -> None:
        folder, course = empty_folder(request_.project.parent), Course()
        settings = SETTINGS.with_values(**case.settings)
        request = Request(request_.source, folder / "model", request_.base, settings=settings)
        with pytest.raises(OutOfMemory) as caught, case.fails(course):
            add_concept(request, course)
        assert f"out of memory while {case.stage}: " in caught.value.message
        assert "GiB" in caught.value.message
        assert caught.value.fix.startswith(case.remedies), caught.value.fix
        if course.steps == 3:
            assert "the same command goes on from step 3" in caught.value.fix
        again = Course()
        found = add_concept(request, again).content_hash
        # All steps are done once: text encoder or not, the others give one and the same model.
        assert found == straight.setdefault(str(case.settings), found)
        assert again.first_step == (0 if course.steps == 6 else course.steps + 1)

    check_each(CASES, check)


def test_the_project_stays_as_it_was(request_: Request, learned: Learned) -> None:
    learned(request_)
    before = snapshot(request_.project)
    second = Request(request_.source, request_.project, token="zwz", settings=SETTINGS)
    with pytest.raises(OutOfMemory), at_step(Course(), 0):
        add_concept(second)
    assert snapshot(request_.project) == before


@pytest.mark.long
def test_checkpointing_goes_on_from_where_memory_ran_out(request_: Request) -> None:
    """It changes nothing about the model, so it is no other plan."""
    straight = add_concept(
        Request(request_.source, request_.project.parent / "straight", request_.base, settings=SETTINGS)
    )
    course = Course()
    with pytest.raises(OutOfMemory), at_step(course, 3):
        add_concept(request_, course)
    thrifty = Request(
        request_.source,
        request_.project,
        request_.base,
        settings=SETTINGS.with_values(gradient_checkpointing=True),
    )
    again = Course()
    assert add_concept(thrifty, again).content_hash == straight.content_hash
    assert again.first_step == 4


@pytest.mark.long
def test_a_preview_that_does_not_fit_saves_the_training_too(request_: Request) -> None:
    seen: list[int] = []
    course = Course()

    def watch(event: Event) -> None:
        course(event)
        if isinstance(event, Preview):
            seen.append(event.step)

    request = Request(
        request_.source,
        request_.project,
        request_.base,
        settings=SETTINGS.with_values(preview_every=2),
    )
    with (
        pytest.raises(OutOfMemory, match="while drawing pictures") as caught,
        failing(Decoder, when=lambda _: course.steps == 4),
    ):
        add_concept(request, watch)
    assert seen == [2]
    assert "goes on from step 4" in caught.value.fix
    again = Course()
    add_concept(request, again)
    assert again.first_step == 5


def test_generating_says_which_size_may_fit(request_: Request) -> None:
    base = request_.base
    assert base is not None
    drawing = GenerateRequest("a dog", count=1, steps=2)
    with pytest.raises(OutOfMemory) as caught, failing(Decoder, when=lambda _: True):
        generate(base, drawing, request_.project.parent / "x.png")
    assert caught.value.fix.startswith("try --size 16; or close")
    assert not (request_.project.parent / "x.png").exists()
