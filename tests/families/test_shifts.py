"""How far times are moved towards noise: as diffusers computes it, and as it is drawn."""

import math

import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

from clora_ext.families.family_data import family_data
from clora_ext.families.flow.process import FlowProcess, shifted
from clora_ext.families.flow.shifts import Fixed, Growing, read_shift

TIMES = family_data("flux2_klein_4b")["times"]
COUNT = 4000
LIMIT = 1.95 / math.sqrt(COUNT)  # of Kolmogorov and Smirnov: once in a thousand


def test_of_sampling_it_follows_from_tokens_and_steps() -> None:
    shift = read_shift(TIMES["sampling"])
    for tokens in (16, 256, 4096, 4300, 4301, 9216):
        for steps in (1, 4, 10, 50, 200):
            wanted = math.exp(compute_empirical_mu(tokens, steps))
            assert math.isclose(shift.factor(tokens, steps), wanted, rel_tol=1e-6)


def test_of_training_its_logarithm_grows_with_the_tokens() -> None:
    shift = read_shift(TIMES["training"])
    found = [math.log(shift.factor(tokens, 1)) for tokens in (256, 2176, 4096, 5632)]
    assert found == pytest.approx([0.5, 0.825, 1.15, 1.41])


def test_times_of_larger_pictures_are_drawn_nearer_to_noise() -> None:
    """By the definition: a standard normal number, squashed, then shifted, for the size of the latents."""
    process = FlowProcess(Fixed(1.0), Growing((256, 0.5), (4096, 1.15)))
    for side, factor in ((16, math.exp(0.5)), (64, math.exp(1.15))):
        times = process.sample_times((COUNT, 128, side, side), torch.Generator().manual_seed(0))
        plain = shifted(times.double(), 1 / factor)
        chances = torch.special.ndtr(torch.logit(plain)).sort().values
        even = (torch.arange(COUNT, dtype=torch.float64) + 0.5) / COUNT
        assert float((chances - even).abs().max()) < LIMIT
        wrong = torch.special.ndtr(torch.logit(times.double())).sort().values
        assert float((wrong - even).abs().max()) > 5 * LIMIT


def test_a_patch_is_one_token() -> None:
    growing = Growing((256, 0.5), (4096, 1.15))
    whole, patched = FlowProcess(growing, growing), FlowProcess(growing, growing, patch=2)
    assert torch.equal(whole.sampling_times(5, (128, 16, 16)), patched.sampling_times(5, (32, 32, 32)))
    assert not torch.equal(whole.sampling_times(5, (128, 16, 16)), whole.sampling_times(5, (128, 32, 32)))
