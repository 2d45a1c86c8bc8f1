"""Extraction of an adapter from a change, against the full singular value decomposition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.linalg import leading_factors


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def change(shape: tuple[int, int], decay: float, seed: int) -> torch.Tensor:
    """A random matrix whose k-th singular value is k ** -decay."""
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=rng(seed)), full_matrices=False)
    values = torch.arange(1, left.shape[1] + 1) ** -decay
    return left * values @ right


@given(
    shape=st.sampled_from([(40, 64), (96, 96), (64, 40), (120, 30), (5, 7)]),
    decay=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    rank=st.integers(1, 32),
    seed=st.integers(0, 99),
)
def test_no_adapter_of_that_rank_is_much_closer(
    shape: tuple[int, int], decay: float, rank: int, seed: int
) -> None:
    """Eckart and Young: the best error is the norm of the singular values that are left out."""
    delta = change(shape, decay, seed)
    values = np.linalg.svd(delta.double().numpy(), compute_uv=False)
    best = np.linalg.norm(values[rank:])
    factors, captured = leading_factors(delta, rank, rng(seed + 1))
    error = float((delta.double() - factors.delta().double()).norm())
    assert error <= 1.02 * best + 1e-5 * np.linalg.norm(values)
    assert captured == pytest.approx(1 - error**2 / np.square(values).sum(), abs=1e-5)


def test_white_noise_is_approximated_as_well_as_can_be() -> None:
    delta = torch.randn(320, 640, generator=rng())
    best = float(torch.linalg.svdvals(delta.double())[64:].norm())
    factors, captured = leading_factors(delta, 64, rng(1))
    assert float((delta - factors.delta()).norm()) <= 1.02 * best
    assert 0.2 < captured < 0.5


def test_an_adapters_own_delta_comes_back_exactly() -> None:
    trained = Factors(torch.randn(8, 200, generator=rng(1)), torch.randn(150, 8, generator=rng(2)), 3.0)
    for rank in (8, 12):
        factors, captured = leading_factors(trained.delta(), rank, rng(3))
        assert (factors.rank, factors.alpha) == (rank, float(rank))
        assert float((factors.delta() - trained.delta()).norm()) <= 1e-5 * float(trained.delta().norm())
        assert captured == pytest.approx(1.0, abs=1e-6)


def test_both_factors_carry_the_same_share() -> None:
    factors, _ = leading_factors(change((60, 90), 1.0, 0) * 1e-4, 5, rng(1))
    torch.testing.assert_close(factors.down.norm(dim=1), factors.up.norm(dim=0))
    assert tuple(factors.down.shape) == (5, 90)
    assert tuple(factors.up.shape) == (60, 5)


def test_a_small_matrix_gives_the_rank_that_it_has() -> None:
    delta = change((5, 7), 0.0, 0)
    factors, captured = leading_factors(delta, 64, rng(1))
    assert factors.rank == 5
    torch.testing.assert_close(factors.delta(), delta, rtol=1e-4, atol=1e-5)
    assert captured == pytest.approx(1.0, abs=1e-6)


def test_a_change_of_zero_is_captured_in_full() -> None:
    factors, captured = leading_factors(torch.zeros(6, 9), 3, rng())
    assert captured == 1.0
    assert torch.equal(factors.delta(), torch.zeros(6, 9))


def test_the_same_seed_gives_the_same_factors() -> None:
    delta = change((30, 40), 0.5, 0)
    one, two = (leading_factors(delta, 4, rng(5))[0] for _ in range(2))
    assert torch.equal(one.down, two.down)
    assert torch.equal(one.up, two.up)
