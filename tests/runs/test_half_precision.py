"""The ways of a GPU, walked on the processor: half precision model, float32 adapter and fold."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from exact_state import exact_project
from small_runs import SETTINGS, stop_at

from clora_ext import Project, Request, Result, add_concept, make_plan
from clora_ext.config.precision import Precision
from clora_ext.errors import Cancelled
from clora_ext.formats.header import read_header

DTYPES = (torch.bfloat16, torch.float16)


def in_half(patch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    half = Precision(torch.device("cpu"), dtype, "a test")
    patch.setattr("clora_ext.config.precision.pick_precision", lambda: half)


def elsewhere(request: Request, **settings: object) -> Request:
    """The same in a project of its own."""
    folder = empty_folder(request.project.parent) / "model"
    return replace(request, project=folder, settings=SETTINGS.with_values(**settings))


@pytest.mark.long
def test_a_model_in_half_precision_is_taught_too(request_: Request) -> None:
    def check(case: tuple[torch.dtype, bool]) -> None:
        dtype, text_encoder = case
        request = elsewhere(request_, text_encoder=text_encoder, preview_every=4)
        targets = {target.name for target in make_plan(request).targets}
        with pytest.MonkeyPatch.context() as patch:
            in_half(patch, dtype)
            result = add_concept(request)
        assert exact_project(request.project).keys() == targets
        assert result.first_loss is not None
        assert 0 < result.first_loss < 2

    check_each([(torch.bfloat16, True), (torch.float16, True), (torch.float16, False)], check)


@pytest.mark.long
def test_half_precision_learns_what_float32_learns(request_: Request) -> None:
    """The losses of six steps from the same noise: rounding alone tells them apart."""
    full = add_concept(elsewhere(request_))

    def check(dtype: torch.dtype) -> None:
        with pytest.MonkeyPatch.context() as patch:
            in_half(patch, dtype)
            half = add_concept(elsewhere(request_))
        assert half.content_hash != full.content_hash
        assert half.last_loss == pytest.approx(full.last_loss, rel=0.02)

    check_each(DTYPES, check)


@pytest.mark.long
def test_a_run_in_half_precision_goes_on_with_equal_losses(request_: Request) -> None:
    def check(dtype: torch.dtype) -> None:
        with pytest.MonkeyPatch.context() as patch:
            in_half(patch, dtype)
            straight = _run(elsewhere(request_), None)
            stopped = _run(elsewhere(request_), 4)
        assert stopped == straight

    check_each(DTYPES, check)


def _run(request: Request, stop: int | None) -> tuple[str, float | None]:
    if stop is not None:
        with pytest.raises(Cancelled):
            add_concept(request, stop_at(stop))
    result: Result = add_concept(request)
    return result.content_hash, result.last_loss


def test_in_float16_the_state_holds_the_scale_and_the_steps_that_count(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a scale at which every gradient overflows, the first steps are left out."""
    in_half(monkeypatch, torch.float16)
    real = torch.amp.GradScaler

    def wild(device: str, *, enabled: bool) -> torch.amp.GradScaler:
        return real(device, init_scale=2.0**127, enabled=enabled)

    monkeypatch.setattr(torch.amp, "GradScaler", wild)
    with pytest.raises(Cancelled):
        add_concept(request_, stop_at(4))
    metadata = read_header(_state_of(request_.project)).metadata
    assert len(json.loads(metadata["clora.losses"])) == 4
    assert json.loads(metadata["clora.scaler"])["scale"] < 2.0**127
    assert _adam_steps(_state_of(request_.project)) < 4
    add_concept(request_)
    assert Project.open(request_.project).number == 1


def _state_of(project: Path) -> Path:
    return next(project.rglob("state.safetensors"))


def _adam_steps(file: Path) -> float:
    """What Adam itself has counted."""
    from clora_ext.formats.checkpoint import Checkpoint

    state = Checkpoint(file)
    counts = {float(state.read(name)) for name in state.names if name.endswith("::step")}
    return max(counts, default=0.0)
