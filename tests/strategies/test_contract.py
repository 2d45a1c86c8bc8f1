"""What every strategy must hold to, by name: a new file is tested by being there."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from clora_ext import strategies
from clora_ext.adapters.factors import Factors, tile_rows
from clora_ext.adapters.moments import Moment
from clora_ext.adapters.scratch import Scratch
from clora_ext.strategies.base import Constraint, Layer, Start, Strategy, keeps_memory

NAMES = strategies.names()
OUT, IN, RANK, ALPHA = 24, 40, 4, 6.0


@pytest.fixture(params=NAMES)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return strategies.load(request.param)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first_layer() -> Layer:
    origin = torch.randn(OUT, IN, generator=rng(1)) * 0.05
    return Layer("layer", origin, origin.clone())


def trained(start: Start, seed: int) -> Factors:
    """A stand-in for training: both factors move, as far as the constraint allows."""
    down = start.factors.down + 0.1 * torch.randn(start.factors.down.shape, generator=rng(seed))
    up = start.factors.up + 0.02 * torch.randn(start.factors.up.shape, generator=rng(seed + 1))
    moved = Factors(down, up, start.factors.alpha)
    return moved if start.constraint is None else start.constraint.project(moved)


def taught(layer: Layer, strategy: Strategy, seed: int) -> Layer:
    start = strategy.begin(layer, RANK, ALPHA, rng(seed))
    fold = strategy.fold(layer, trained(start, seed))
    return Layer(layer.name, layer.origin, fold.weight, fold.memory, number=layer.number + 1)


def test_first_concept_is_plain_lora_bit_for_bit(strategy: Strategy) -> None:
    layer = first_layer()
    start = strategy.begin(layer, RANK, ALPHA, rng())
    factors = trained(start, 3)
    expected = layer.origin + ALPHA / RANK * (factors.up @ factors.down)
    assert torch.equal(strategy.fold(layer, factors).weight, expected)


def test_a_strategy_that_says_that_it_adds_folds_the_change_itself(strategy: Strategy) -> None:
    """Over a layer that has learned: bit for bit what it was and the change.

    One that does not say so may do it all the same, by some of its options or with trained changes alone.
    """
    if not strategy.adds:
        return
    layer = taught(first_layer(), strategy, 0)
    factors = trained(strategy.begin(layer, RANK, ALPHA, rng(5)), 5)
    for join in (strategy.fold, strategy.adopt):
        assert torch.equal(join(layer, factors).weight, layer.current + factors.delta())


def test_first_concept_starts_as_a_gaussian_adapter(strategy: Strategy) -> None:
    start = strategy.begin(first_layer(), RANK, ALPHA, rng(5))
    assert torch.equal(start.factors.down, torch.randn(RANK, IN, generator=rng(5)) / RANK)
    assert not start.factors.up.any()
    assert start.factors.alpha == ALPHA


@pytest.mark.parametrize("concepts", [0, 1, 2, 5])
def test_training_starts_exactly_at_current(strategy: Strategy, concepts: int) -> None:
    layer = first_layer()
    for number in range(concepts):
        layer = taught(layer, strategy, 10 * number)
    start = strategy.begin(layer, RANK, ALPHA, rng(99))
    torch.testing.assert_close(start.frozen + start.factors.delta(), layer.current, rtol=0, atol=1e-7)
    if not start.factors.up.any():
        assert torch.equal(start.frozen, layer.current)


@pytest.mark.parametrize("concepts", [0, 1, 2, 5])
def test_idle_adapter_changes_nothing_bit_for_bit(strategy: Strategy, concepts: int) -> None:
    layer = first_layer()
    for number in range(concepts):
        layer = taught(layer, strategy, 10 * number)
    start = strategy.begin(layer, RANK, ALPHA, rng(99))
    assert torch.equal(strategy.fold(layer, start.factors).weight, layer.current)


def check_projection(strategy: Strategy) -> None:
    layer = taught(first_layer(), strategy, 0)
    read = torch.randn(30, IN, generator=rng(6))
    moment = Moment.of(read.T @ read / len(read))
    layer = replace(layer, inputs=moment, past_inputs=moment)
    constraint = strategy.begin(layer, RANK, ALPHA, rng(5)).constraint
    projects = constraint is not None and type(constraint).project is not Constraint.project
    assert strategy.projects == projects


def test_a_strategy_whose_constraints_project_says_so(strategy: Strategy) -> None:
    """Else an adapter with magnitudes would be trained as if it were held to them."""
    check_projection(strategy)


def test_one_that_projects_by_some_of_its_options_says_by_which() -> None:
    check_projection(strategies.load("orthogonal", {"mode": "paper"}))
    check_projection(strategies.load("nullfilter", {"mode": "merge"}))


def test_inputs_are_untouched(strategy: Strategy) -> None:
    layer = taught(first_layer(), strategy, 0)
    before = [layer.origin.clone(), layer.current.clone(), *(v.clone() for v in layer.memory.values())]
    start = strategy.begin(layer, RANK, ALPHA, rng(7))
    factors = trained(start, 7)
    down, up = factors.down.clone(), factors.up.clone()
    fold = strategy.fold(layer, factors)
    fold.weight.add_(1)
    after = [layer.origin, layer.current, *layer.memory.values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(factors.down, down)
    assert torch.equal(factors.up, up)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(NAMES, NAMES)))
def test_any_strategy_may_follow_any_other(first: str, second: str) -> None:
    """What is there stays where the follower learns nothing, whoever folded it."""
    layer = first_layer()
    for number in range(2):
        layer = taught(layer, strategies.load(first), 10 * number)
    if first != second:
        layer = replace(layer, memory={})
    follower = strategies.load(second)
    start = follower.begin(layer, RANK, ALPHA, rng(50))
    torch.testing.assert_close(start.frozen + start.factors.delta(), layer.current, rtol=0, atol=1e-7)
    assert torch.equal(follower.fold(layer, start.factors).weight, layer.current)
    assert torch.isfinite(follower.fold(layer, trained(start, 51)).weight).all()


@pytest.mark.parametrize("rank", [2, 4, 8])
def test_memory_is_what_the_strategy_declares(strategy: Strategy, rank: int) -> None:
    layer = first_layer()
    for number in range(3):
        start = strategy.begin(layer, rank, ALPHA, rng(number))
        fold = strategy.fold(layer, trained(start, number))
        shapes = {name: tuple(tensor.shape) for name, tensor in fold.memory.items()}
        assert shapes == dict(strategy.memory_shapes(layer.shape, rank))
        layer = replace(layer, current=fold.weight, memory=fold.memory, number=number + 2)


def test_memory_does_not_grow_with_concepts(strategy: Strategy) -> None:
    layer = first_layer()
    sizes = []
    for number in range(4):
        layer = taught(layer, strategy, number)
        sizes.append(sum(tensor.numel() for tensor in layer.memory.values()))
    assert len(set(sizes)) == 1


def test_rank_may_change_between_concepts(strategy: Strategy) -> None:
    layer = taught(first_layer(), strategy, 0)
    start = strategy.begin(layer, RANK + 2, ALPHA, rng(3))
    assert start.factors.rank == RANK + 2
    assert torch.equal(strategy.fold(layer, start.factors).weight, layer.current)


def test_alpha_may_change_between_concepts(strategy: Strategy) -> None:
    layer = taught(first_layer(), strategy, 0)
    start = strategy.begin(layer, RANK, 2 * ALPHA, rng(3))
    assert start.factors.alpha == 2 * ALPHA
    torch.testing.assert_close(start.frozen + start.factors.delta(), layer.current, rtol=0, atol=1e-7)


def test_same_seed_same_bits(strategy: Strategy) -> None:
    layer = taught(first_layer(), strategy, 0)
    once, again = (strategy.begin(layer, RANK, ALPHA, rng(8)).factors.down for _ in range(2))
    assert torch.equal(once, again)


def test_a_hundred_concepts_stay_finite(strategy: Strategy) -> None:
    layer = first_layer()
    for number in range(100):
        layer = taught(layer, strategy, number)
    assert math.isfinite(float(layer.current.norm()))


@pytest.mark.parametrize("name", [name for name in NAMES if strategies.load(name).rowwise])
@pytest.mark.parametrize(("out", "in_"), [(330, 40), (131, 777), (70, 4608)])
def test_rows_are_folded_as_they_are_in_the_whole_layer(name: str, out: int, in_: int) -> None:
    """Bit for bit, of a strategy that says so; from the bounds of tiles on, as folding cuts layers."""
    strategy = strategies.load(name)
    origin = torch.randn(out, in_, generator=rng(1)) * 0.05
    layer = Layer("layer", origin, origin + torch.randn(out, in_, generator=rng(2)) * 0.01, number=3)
    factors = Factors(
        torch.randn(7, in_, generator=rng(3)), torch.randn(out, 7, generator=rng(4)) * 0.003, ALPHA
    )
    whole, scratch = strategy.fold(layer, factors).weight, Scratch()
    step = tile_rows(in_)
    for first in range(0, out, step):
        for last in {min(first + step, out), min(first + 3 * step, out)}:
            rows = replace(layer, origin=layer.origin[first:last], current=layer.current[first:last])
            change = factors.rows(first, last)
            assert torch.equal(strategy.fold(rows, change).weight, whole[first:last])
            assert torch.equal(strategy.fold_rows(rows, change, scratch), whole[first:last])


def test_a_strategy_that_says_nothing_is_given_whole_layers_and_keeps_nothing() -> None:
    class Plain(Strategy):
        pass

    plain = Plain()
    assert not plain.rowwise
    assert not keeps_memory(plain)
    assert plain.state_level == "L0"
    assert strategies.load("merge").rowwise
    assert keeps_memory(strategies.load("naive"))
