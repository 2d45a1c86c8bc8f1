"""Sampling at times between those of its steps: every time has its turn, and the walk stays on the line."""

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from clora_ext.families.flow.process import FlowProcess
from clora_ext.families.flow.shifts import Fixed
from clora_ext.families.latent.process import DiffusionProcess
from clora_ext.families.process import Process

SCHEDULE: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SHAPE = (1, 4, 4, 4)
PROCESSES: dict[str, Process] = {
    "epsilon": DiffusionProcess(DDPMScheduler(**SCHEDULE)),
    "v": DiffusionProcess(DDPMScheduler(**SCHEDULE, prediction_type="v_prediction")),
    "v without signal at the end": DiffusionProcess(
        DDPMScheduler(**SCHEDULE, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    ),
    "flow": FlowProcess(Fixed(3.0), Fixed(1.0)),
}
each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=list(PROCESSES))


def of_one(process: Process, time: Tensor, latents: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The point of a picture at a time, and what a network that knows it answers there."""
    return process.noised(latents, noise, time[None]), process.target(latents, noise, time[None])


@each_process
@pytest.mark.parametrize("phase", [0.0, 0.37, 0.99])
def test_a_true_answer_leads_from_each_time_to_the_next(process: Process, phase: float) -> None:
    latents, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)).unbind()
    times = process.sampling_times(7, SHAPE, phase)
    for done in range(6):
        point, answer = of_one(process, times[done], latents, noise)
        expected, _ = of_one(process, times[done + 1], latents, noise)
        moved = process.advance(point, answer, done, 7, phase)
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4)


@each_process
def test_times_fall_and_lie_between_those_without_a_phase(process: Process) -> None:
    plain = process.sampling_times(7, SHAPE)
    assert torch.equal(plain, process.sampling_times(7, SHAPE, 0.0))
    for phase in (0.1, 0.5, 0.999):
        times = process.sampling_times(7, SHAPE, phase)
        assert times.dtype == plain.dtype
        assert (times[:-1] > times[1:]).all()
        assert (times >= plain).all()
        assert (times[1:] < plain[:-1]).all()
        assert float(times[0]) <= process.length


@each_process
def test_over_many_phases_every_time_is_asked(process: Process) -> None:
    found = torch.cat([process.sampling_times(5, SHAPE, number / 1000) for number in range(1000)]).double()
    ordered = found.unique()
    assert float((ordered[1:] - ordered[:-1]).max()) < 0.005 * process.length
    assert float(ordered[-1]) >= 0.98 * process.length
