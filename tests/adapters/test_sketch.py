"""Directions that rows use, found from sums of them, against the full singular value decomposition."""

import pytest
import torch
from cases import check_each
from torch import Tensor

from clora_ext.adapters import sketch
from clora_ext.adapters.linalg import row_space
from clora_ext.adapters.sketch import sketched_row_space

ENERGY = 0.9999
OUT, IN = 300, 400


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def low_rank(rank: int, decay: float = 0.0) -> Tensor:
    """A change by adapters, with what float32 loses when it is taken from a weight again."""
    up = torch.randn(OUT, rank, generator=rng(1)) * torch.arange(1, rank + 1) ** -decay
    origin = torch.randn(OUT, IN, generator=rng(2)) * 0.02
    return (origin + 1e-5 * up @ torch.randn(rank, IN, generator=rng(3))) - origin


def used(matrix: Tensor, *, limit: int, rng: torch.Generator, expected: int) -> Tensor:
    """Of a change between two weights."""
    before = torch.zeros_like(matrix)
    return sketched_row_space(matrix, before, energy=ENERGY, limit=limit, rng=rng, expected=expected)


def missed(matrix: Tensor, basis: Tensor) -> float:
    """Share of the squared norm outside the basis."""
    exact, basis = matrix.double(), basis.double()
    outside = exact - exact @ basis @ basis.T
    return float(outside.square().sum() / exact.square().sum())


def least(matrix: Tensor, energy: float) -> int:
    """How many directions the best basis needs."""
    squares = torch.linalg.svdvals(matrix.double()).square()
    return int((squares.cumsum(0) / squares.sum() < energy).sum()) + 1


def test_the_basis_holds_what_is_asked_and_not_much_more() -> None:
    """Fewer directions than expected, about as many, more, far more; alike or of very different size."""

    def check(case: tuple[int, float]) -> None:
        rank, decay = case
        matrix = low_rank(rank, decay)
        for seed in range(5):
            basis = used(matrix, limit=IN, rng=rng(seed), expected=24)
            identity = torch.eye(basis.shape[1])
            torch.testing.assert_close(basis.T @ basis, identity, rtol=0, atol=1e-5)
            assert missed(matrix, basis) < 2 * (1 - ENERGY)
            assert basis.shape[1] <= 2 * least(matrix, ENERGY)

    check_each([(rank, decay) for rank in (1, 5, 20, 40, 90, 200) for decay in (0.0, 1.0, 2.0)], check)


def test_flat_directions_are_all_found_and_none_beside_them() -> None:
    matrix = low_rank(16)
    basis = used(matrix, limit=IN, rng=rng(), expected=24)
    assert basis.shape == (IN, 16)
    assert missed(matrix, basis) < 1e-8


def test_what_few_rows_use_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if all of them end in one sum; or if the basis is another one, which the other sums tell."""
    for step in (150, 8):
        matrix = torch.zeros(OUT, IN)
        matrix[::step] = torch.randn(len(matrix[::step]), IN, generator=rng())
        for seed in range(10):
            basis = used(matrix, limit=IN, rng=rng(seed), expected=8)
            assert missed(matrix, basis) < 2 * (1 - ENERGY)
    monkeypatch.setattr(sketch, "_orthonormal", lambda sums: torch.eye(IN)[:, : len(sums)])
    basis = used(matrix, limit=IN, rng=rng(), expected=8)
    assert missed(matrix, basis) < 2 * (1 - ENERGY)


def test_where_more_are_used_than_allowed_the_leading_ones_are_given() -> None:
    matrix = low_rank(20, decay=1.0)
    found = used(matrix, limit=6, rng=rng(), expected=24)
    best = row_space(matrix, energy=ENERGY, limit=6, rng=rng(), expected=24)
    assert found.shape == (IN, 6)
    assert missed(matrix, found) == pytest.approx(missed(matrix, best), rel=1e-3)


def test_nothing_is_used_by_zeros() -> None:
    found = used(torch.zeros(OUT, IN), limit=IN, rng=rng(), expected=24)
    assert found.shape == (IN, 0)


def test_the_same_seed_gives_the_same_bits() -> None:
    matrix = low_rank(20)
    one, two = (used(matrix, limit=IN, rng=rng(5), expected=24) for _ in range(2))
    assert torch.equal(one, two)
