"""Three by three matrices whose folds were computed with a pencil."""

import torch

from clora_ext import strategies
from clora_ext.adapters.factors import Factors
from clora_ext.strategies.base import Layer
from clora_ext.strategies.orthogonal import AvoidDirections

ORIGIN = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [3.0, 0.0, 1.0]])
EARLIER = torch.tensor([[0.5, 0.0, -2.0], [0.0, 0.0, 0.0], [1.0, -3.0, 0.0]])
# alpha / rank = 2, so the delta is 2 * up @ down
FACTORS = Factors(torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[1.0], [0.0], [-0.5]]), alpha=2.0)
DELTA = torch.tensor([[2.0, 0.0, -2.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 1.0]])


def layer() -> Layer:
    return Layer("layer", ORIGIN, ORIGIN + EARLIER)


def fold(name: str) -> torch.Tensor:
    return strategies.load(name).fold(layer(), FACTORS).weight


def test_delta() -> None:
    assert torch.equal(FACTORS.delta(), DELTA)


def test_merge_adds_the_delta() -> None:
    assert fold("merge").tolist() == [[3.5, 0, -2], [0, 1, 0], [3, -3, 2]]


def test_mask_keeps_the_larger_change_and_ties_go_to_the_new() -> None:
    # (0,0): |2| >= |.5| new; (0,2): a tie of equal values; (2,0): tie of 1 and -1, the new -1 wins;
    # (2,1): |0| < |-3| old; (2,2): |1| >= 0 new.
    assert fold("mask").tolist() == [[3, 0, 0], [0, 1, 0], [2, -3, 2]]


def test_orthogonal_adds_the_delta() -> None:
    assert torch.equal(fold("orthogonal"), fold("merge"))


def test_naive_replaces_its_one_adapter() -> None:
    kept = Factors(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[1.0], [0.0], [0.0]]), alpha=2.0)
    memory = {"down": kept.down, "up": kept.up, "alpha": torch.tensor(2.0)}
    before = Layer("layer", ORIGIN, ORIGIN + kept.delta(), memory)
    assert torch.equal(strategies.load("naive").fold(before, FACTORS).weight, ORIGIN + DELTA)


def test_naive_continues_its_one_adapter_over_the_base() -> None:
    kept = Factors(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[1.0], [0.0], [0.0]]), alpha=2.0)
    memory = {"down": kept.down, "up": kept.up, "alpha": torch.tensor(2.0)}
    before = Layer("layer", ORIGIN, ORIGIN + kept.delta(), memory)
    start = strategies.load("naive").begin(before, 1, 2.0, torch.Generator())
    assert torch.equal(start.frozen, ORIGIN)
    assert torch.equal(start.factors.down, kept.down)
    assert torch.equal(start.factors.up, kept.up)


def test_orthogonal_avoids_the_rows_that_are_used() -> None:
    used = torch.tensor([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    start = strategies.load("orthogonal").begin(
        Layer("layer", ORIGIN, ORIGIN + used), 1, 1.0, torch.Generator().manual_seed(0)
    )
    plain = torch.randn(1, 3, generator=torch.Generator().manual_seed(0))
    assert abs(float(start.factors.down[0, 2])) < 1e-6
    torch.testing.assert_close(start.factors.down.norm(), plain.norm())
    assert isinstance(start.constraint, AvoidDirections)
    torch.testing.assert_close(start.constraint.protected_basis.abs(), torch.tensor([[0.0], [0.0], [1.0]]))
