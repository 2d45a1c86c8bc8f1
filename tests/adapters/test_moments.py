"""Second moments of inputs: streamed, summed, rounded, low-rank; and changes of layers against them."""

import pytest
import torch
from torch import Tensor

from clora_ext.adapters import moments
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.moment_algebra import change_quadratic, retain
from clora_ext.adapters.moments import FULL_WIDTH, RANK, Moment, MomentSum

WIDE = FULL_WIDTH + 52


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(width: int, seed: int = 0, count: int = 700, rank: int = 20) -> Tensor:
    """Rows as layers read them: a mean, some strong directions, and a little of everything."""
    strong = torch.randn(rank, width, generator=rng(99)) * torch.linspace(2, 0.2, rank).unsqueeze(1)
    rows = torch.randn(count, rank, generator=rng(seed)) @ strong + torch.randn(width, generator=rng(98))
    return rows + 0.1 * torch.randn(count, width, generator=rng(seed + 1))


def second_moment(rows: Tensor) -> Tensor:
    return rows.double().T @ rows.double() / len(rows)


def streamed(rows: Tensor) -> Moment:
    total = MomentSum(rows.shape[1])
    for part in rows.split(64):
        total.add(part)
    found = total.mean()
    assert found is not None
    return found


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_a_streamed_moment_equals_the_dense_one() -> None:
    rows = inputs(48)
    found = streamed(rows)
    assert found.is_whole
    torch.testing.assert_close(found.dense(), second_moment(rows), rtol=1e-5, atol=1e-5)
    assert MomentSum(48).mean() is None


def test_a_streamed_wide_moment_is_close_and_has_the_exact_variances() -> None:
    """20 directions and a mean fit into the rank; the noise is left to the diagonal."""
    rows = inputs(WIDE)
    found, exact = streamed(rows), second_moment(rows)
    assert found.factor.shape == (WIDE, RANK)
    torch.testing.assert_close(found.dense().diagonal(), exact.diagonal(), rtol=1e-4, atol=1e-5)
    assert distance(found.dense(), exact) < 0.002
    without = torch.diag(exact.diagonal())
    assert distance(without, exact) > 0.5  # what a diagonal alone misses


def test_the_error_of_a_wide_moment_is_within_twice_that_of_the_best_of_its_rank() -> None:
    """Of a spectrum that falls slowly, where it is not small: Theorem 4.1 of arXiv 1706.05736 bounds it."""
    rows = torch.randn(900, WIDE, generator=rng(3)) * torch.arange(1, WIDE + 1).pow(-0.5)
    exact = second_moment(rows)
    values = torch.linalg.eigvalsh((rows @ rows.T).double() / len(rows)).flip(0)
    best = float(values[RANK:].norm() / values.norm())
    assert 0.005 < best < distance(streamed(rows).dense(), exact) + best
    assert distance(streamed(rows).dense(), exact) < 2 * best


@pytest.mark.parametrize("width", [48, WIDE])
def test_sums_are_as_large_as_each_and_close_to_the_whole(width: int) -> None:
    parts = [inputs(width, seed) for seed in (0, 10, 20)]
    total = streamed(parts[0])
    for part in parts[1:]:
        total = total.plus(streamed(part)).rounded()
    exact = sum(second_moment(part) for part in parts)
    assert isinstance(exact, Tensor)
    assert total.factor.shape == (width, min(width, RANK if width > FULL_WIDTH else width))
    assert distance(total.dense(), exact) < 0.005
    torch.testing.assert_close(total.dense().diagonal(), exact.diagonal(), rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("width", [48, WIDE])
def test_rounded_moments_have_no_negative_direction(width: int) -> None:
    """Which a rounded matrix has: in it, a penalty would pay for changing more and more."""
    rows = inputs(width, count=30)  # fewer than numbers: most directions were never read
    found = streamed(rows).rounded()
    assert found.factor.dtype == torch.bfloat16
    least = torch.linalg.eigvalsh(found.dense()).min()
    assert float(least) > -1e-5 * float(found.dense().diagonal().max())
    if width == 48:
        assert float(torch.linalg.eigvalsh(second_moment(rows).bfloat16().double()).min()) < -1e-3
    assert distance(found.dense(), second_moment(rows)) < 0.01


@pytest.mark.parametrize("width", [48, WIDE])
def test_products_are_those_of_the_dense_matrix(width: int) -> None:
    moment = streamed(inputs(width)).rounded()
    rows = torch.randn(5, width, generator=rng(4))
    torch.testing.assert_close(
        moment.apply(rows).double(), rows.double() @ moment.dense(), rtol=1e-3, atol=1e-2
    )
    energy = float((rows.double() @ moment.dense() * rows).sum())
    assert moment.energy(rows) == pytest.approx(energy, rel=1e-4)


@pytest.mark.parametrize("width", [40, WIDE])
def test_the_quadratic_and_its_gradient_are_autograds_of_the_dense_form(width: int) -> None:
    moment = streamed(inputs(width)).rounded()
    down = torch.randn(4, width, generator=rng(5), requires_grad=True)
    up = torch.randn(7, 4, generator=rng(6), requires_grad=True)
    found = 3 * change_quadratic(down, up, moment)
    written = torch.autograd.grad(found, (down, up))
    dense = 3 * ((up @ down) @ moment.dense().float() * (up @ down)).sum()
    expected = torch.autograd.grad(dense, (down, up))
    torch.testing.assert_close(found, dense, rtol=1e-4, atol=0)
    for a, b in zip(written, expected, strict=True):
        assert distance(a, b) < 1e-4


@pytest.mark.parametrize("width", [40, WIDE])
@pytest.mark.parametrize("count", [700, 25])
def test_what_is_retained_solves_the_ridge_regression(width: int, count: int) -> None:
    """Of few inputs too, where most directions were never read; without it growing out of all bounds."""
    new = streamed(inputs(width, count=count)).rounded()
    past = streamed(inputs(width, 30, rank=12, count=count)).rounded()
    rows = torch.randn(3, width, generator=rng(7))
    found = retain(rows, new, past, 0.5)
    ridge = torch.eye(width) * 2**-7 * (new.mean_variance + 0.5 * past.mean_variance)
    whole = new.dense() + 0.5 * past.dense() + ridge
    assert distance(found.double() @ whole, rows.double() @ (new.dense() + ridge)) < 1e-5
    assert torch.equal(retain(rows, new, past, 0.0), rows)
    assert past.energy(retain(rows, new, past, 1000.0)) < 0.01 * past.energy(rows)
    assert float(found.norm()) < 2 * float(rows.norm())


def test_what_nothing_has_read_stays_and_what_the_past_alone_has_read_goes() -> None:
    nothing = Moment.of(torch.zeros(6, 6))
    rows = torch.randn(2, 6, generator=rng(8))
    assert torch.equal(retain(rows, nothing, nothing, 1.0), rows)
    assert float(change_quadratic(rows, torch.ones(3, 2), nothing)) == 0
    new = Moment.of(torch.diag(torch.tensor([1.0, 1, 0, 0, 0, 0])))
    past = Moment.of(torch.diag(torch.tensor([0.0, 1, 1, 1, 0, 0])))
    kept = retain(rows, new, past, 1.0)
    expected = rows * torch.tensor([1, 0.5, 0, 0, 1, 1])
    torch.testing.assert_close(kept, expected, rtol=0, atol=0.02)


def test_layers_that_share_a_moment_share_it_where_it_is_moved() -> None:
    moment = Moment.of(torch.eye(4))
    there = torch.device("meta")
    assert moment.to(there) is moment.to(there)
    assert moment.to(there).factor.device == there
    assert moment.to(torch.device("cpu")) is moment


def test_a_change_of_factors_is_measured_at_its_scale() -> None:
    factors = Factors(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]]), alpha=2.0)
    moment = Moment.of(torch.tensor([[2.0, 1.0], [1.0, 1.0]]))
    # down G down^T = 2 + 4 + 4 = 10, up^T up = 9, scale squared 4
    found = factors.scale**2 * change_quadratic(factors.down, factors.up, moment)
    assert float(found) == pytest.approx(360, rel=1e-5)
    assert moments.FULL_WIDTH > moments.RANK
