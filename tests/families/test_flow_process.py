"""Flow matching: the line from picture to noise, when it is asked, and how it is walked."""

import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from clora_ext.config.loss_settings import LossSettings, loss_problems
from clora_ext.families.flow.process import FlowProcess, shifted
from clora_ext.families.flow.shifts import Fixed

PROCESS = FlowProcess(Fixed(3.0), Fixed(2.0))
COUNT = 4000
LIMIT = 1.95 / math.sqrt(COUNT)  # of Kolmogorov and Smirnov: once in a thousand


def chance(time: float) -> float:
    """Of a time below this one, by the definition: a standard normal number, squashed, then shifted."""
    plain = time / (2 - time)  # the shift of 2, undone
    return 0.5 * (1 + math.erf(math.log(plain / (1 - plain)) / math.sqrt(2)))


def distance(times: torch.Tensor, least: float = 0.0, most: float = 1.0) -> float:
    """The largest difference between what was drawn and what is said of it."""
    below = [chance(least) if least else 0.0, chance(most) if most < 1 else 1.0]
    wanted = [(chance(time) - below[0]) / (below[1] - below[0]) for time in sorted(times.tolist())]
    return max(abs(one - (place + 0.5) / len(wanted)) for place, one in enumerate(wanted))


def test_times_are_logit_normal_and_shifted() -> None:
    rng = torch.Generator().manual_seed(0)
    times = PROCESS.sample_times((COUNT, 16, 8, 8), rng)
    assert (times.shape, times.dtype) == ((COUNT,), torch.float32)
    assert distance(times) < LIMIT
    assert float(times.min()) > 0
    assert float(times.max()) < 1
    rng = torch.Generator().manual_seed(0)
    other = FlowProcess(Fixed(3.0), Fixed(1.0)).sample_times((COUNT, 16, 8, 8), rng)
    assert distance(other) > 5 * LIMIT


def test_times_between_bounds_are_that_part_of_the_distribution() -> None:
    rng = torch.Generator().manual_seed(1)
    times = PROCESS.sample_times((COUNT, 16, 8, 8), rng, least=200, most=700)
    assert 0.2 <= float(times.min()) < 0.22
    assert 0.68 < float(times.max()) <= 0.7
    assert distance(times, 0.2, 0.7) < LIMIT


def test_a_step_of_noise_is_a_straight_line() -> None:
    latents, noise = torch.randn(2, 3, 16, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
    times = torch.tensor([0.0, 0.25, 1.0])
    noised = PROCESS.noised(latents, noise, times)
    torch.testing.assert_close(noised[0], latents[0])
    torch.testing.assert_close(noised[1], 0.75 * latents[1] + 0.25 * noise[1])
    torch.testing.assert_close(noised[2], noise[2])
    velocity = PROCESS.target(latents, noise, times)
    torch.testing.assert_close(noised + (1 - times).reshape(-1, 1, 1, 1) * velocity, noise)
    assert PROCESS.weight(times) is None
    torch.testing.assert_close(PROCESS.signal_to_noise(times), torch.tensor([math.inf, 9.0, 0.0]))
    assert (PROCESS.predicts, PROCESS.length) == ("flow", 1.0)


def test_sampling_walks_as_diffusers_does() -> None:
    rng = torch.Generator().manual_seed(2)
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    for steps in (1, 3, 8):
        theirs.set_timesteps(sigmas=[1 - step / steps for step in range(steps)])
        torch.testing.assert_close(PROCESS.sampling_times(steps, (16, 4, 4)), theirs.timesteps / 1000)
        ours = other = torch.randn(1, 16, 4, 4, generator=rng)
        for done, time in enumerate(theirs.timesteps):
            output = torch.randn(1, 16, 4, 4, generator=rng)
            ours = PROCESS.advance(ours, output, done, steps)
            other = theirs.step(output, time, other).prev_sample
        torch.testing.assert_close(ours, other)


def test_the_true_velocity_leads_from_noise_to_the_picture() -> None:
    latents, noise = torch.randn(2, 1, 16, 4, 4, generator=torch.Generator().manual_seed(3)).unbind()
    velocity, walked = noise - latents, noise
    for done in range(5):
        walked = PROCESS.advance(walked, velocity, done, 5)
    torch.testing.assert_close(walked, latents, atol=1e-5, rtol=0)


def test_a_shift_and_its_inverse() -> None:
    times = torch.linspace(0, 1, 11)
    torch.testing.assert_close(shifted(shifted(times, 3.0), 1 / 3), times)


@pytest.mark.parametrize(
    "asked",
    [{"min_snr_gamma": 5.0}, {"debiased_estimation": True}, {"scale_v_pred": True}, {"v_pred_like": 1.0}],
)
def test_weights_of_diffusion_are_refused(asked: dict[str, float]) -> None:
    (problem,) = loss_problems(LossSettings(**asked), predicts="flow", zero_snr=False)  # type: ignore[arg-type]
    assert "flow" in problem
    assert not loss_problems(LossSettings(loss_type="huber"), predicts="flow", zero_snr=False)
