"""The strategies that are there for comparison, against their papers' formulas in numpy."""

import numpy as np
import pytest
import torch
from cases import check_each
from torch import Tensor

from clora_ext import strategies
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.linalg import squared_norm, thin_svd
from clora_ext.errors import UsageError
from clora_ext.strategies.base import Constraint, Layer, Start
from clora_ext.strategies.opcm import outside

OUT, IN, RANK, ALPHA = 20, 32, 4, 10.0


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(seed: int = 0, rank: int = RANK) -> Factors:
    down = torch.randn(rank, IN, generator=rng(seed))
    return Factors(down, torch.randn(OUT, rank, generator=rng(seed + 1)) * 0.1, ALPHA)


def learned(number: int = 3) -> Layer:
    """A layer that ``number - 1`` concepts have changed."""
    origin = torch.randn(OUT, IN, generator=rng(10))
    changes = [factors(20 + 2 * past).delta() * 0.5**past for past in range(number - 1)]
    return Layer("layer", origin, sum(changes, origin), number=number)


def begun(name: str, layer: Layer, **options: object) -> Start:
    return strategies.load(name, options).begin(layer, RANK, ALPHA, rng())


def folded(name: str, layer: Layer, tau: Factors, **options: object) -> Tensor:
    return strategies.load(name, options).fold(layer, tau).weight


def constraint(start: Start) -> Constraint:
    assert start.constraint is not None
    return start.constraint


def gradient_of_penalty(held: Constraint, trained: Factors) -> tuple[float, Tensor]:
    """A penalty and its gradient by the delta: that by ``up`` where ``down`` is the identity."""
    up = trained.delta().requires_grad_()
    penalty = held.penalty(Factors(torch.eye(IN), up, float(IN)))
    assert penalty is not None
    penalty.backward()  # type: ignore[no-untyped-call]
    assert up.grad is not None
    return float(penalty.detach()), up.grad


def test_a_squared_norm_is_that_of_the_delta() -> None:
    rows, columns, change = torch.rand(OUT), torch.rand(IN), factors()
    torch.testing.assert_close(squared_norm(change), change.delta().square().sum())
    expected = (rows[:, None] * columns * change.delta().square()).sum()
    torch.testing.assert_close(squared_norm(change, rows, columns), expected)


def test_clora_holds_each_weight_as_strongly_as_it_was_changed() -> None:
    layer, change = learned(), factors(3)
    penalty, gradient = gradient_of_penalty(constraint(begun("clora", layer, strength=0.5)), change)
    earlier, delta = layer.earlier.double().numpy() ** 2, change.delta().double().numpy()
    weights = 0.5 * earlier / earlier.mean()
    np.testing.assert_allclose(penalty, (weights * delta**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(gradient.numpy(), 2 * weights * delta, rtol=1e-3, atol=1e-4)


def test_l2_holds_every_weight_alike() -> None:
    change = factors(3)
    penalty, gradient = gradient_of_penalty(constraint(begun("l2", learned(), strength=0.5)), change)
    delta = change.delta().double().numpy()
    np.testing.assert_allclose(penalty, 0.5 * (delta**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(gradient.numpy(), delta, rtol=1e-3, atol=1e-4)


def test_gradients_of_penalties_flow_into_both_factors() -> None:
    def check(name: str) -> None:
        start = begun(name, learned())
        up, down = (part.clone().requires_grad_() for part in (factors().up, factors().down))
        penalty = constraint(start).to(torch.device("cpu")).penalty(Factors(down, up, ALPHA))
        assert penalty is not None
        penalty.backward()  # type: ignore[no-untyped-call]
        assert up.grad is not None
        assert down.grad is not None
        assert up.grad.abs().sum() > 0
        assert down.grad.abs().sum() > 0

    check_each(["clora", "l2"], check)


PENALTIES = {"clora": {"strength": 0}, "l2": {"strength": 0}, "nullfilter": {"share": 0}}


def test_at_no_strength_they_are_merge_bit_for_bit() -> None:
    layer, change = learned(), factors(3)

    def check(name: str) -> None:
        start, merged = begun(name, layer, **PENALTIES[name]), begun("merge", layer)
        assert start.constraint is None
        assert torch.equal(start.factors.down, merged.factors.down)
        assert torch.equal(folded(name, layer, change, **PENALTIES[name]), folded("merge", layer, change))

    check_each(PENALTIES, check)
    assert torch.equal(
        folded("nullfilter", layer, change, share=0, mode="merge"), folded("merge", layer, change)
    )


def test_the_first_concept_is_held_to_nothing() -> None:
    def check(name: str) -> None:
        assert begun(name, learned(1)).constraint is None

    check_each(["clora", "l2", "nullfilter"], check)


def test_nullfilter_leaves_the_leading_directions_alone() -> None:
    layer, change = learned(), factors(3)
    _, values, turned = np.linalg.svd(layer.earlier.double().numpy())
    count = 1 + int((values.cumsum() / values.sum() < 0.8).sum())
    assert 1 < count < 2 * RANK
    projector = np.eye(IN) - turned[:count].T @ turned[:count]
    tau = change.delta().double().numpy()
    merged = folded("nullfilter", layer, change, share=0.8, mode="merge") - layer.current
    np.testing.assert_allclose(merged.numpy(), tau @ projector, atol=1e-3)
    start = begun("nullfilter", layer, share=0.8)
    plain = begun("merge", layer).factors.down.double().numpy()
    np.testing.assert_allclose(start.factors.down.numpy(), plain @ projector, atol=1e-3)
    held = constraint(start).project(change).delta()
    np.testing.assert_allclose(held.numpy(), tau @ projector, atol=1e-3)


def test_nullfilter_leaves_room_for_the_rank() -> None:
    full = Layer("layer", torch.zeros(OUT, IN), torch.randn(OUT, IN, generator=rng(5)), number=2)
    wide = strategies.load("nullfilter", {"share": 1}).begin(full, IN - 3, ALPHA, rng())
    assert int(torch.linalg.matrix_rank(wide.factors.down)) == IN - 3


def test_scaled_weighs_changes_by_their_number() -> None:
    change = factors(3)
    expected = {
        ("inverse-sqrt", 4): 0.5, ("inverse", 4): 0.25, ("constant", 4): 0.3, ("constant", 9): 0.3,
        ("inverse-sqrt", 1): 1, ("inverse", 1): 1, ("constant", 1): 1,
    }  # fmt: skip

    def check(case: tuple[str, int]) -> None:
        layer = learned(case[1])
        step = folded("scaled", layer, change, schedule=case[0], beta=0.3) - layer.current
        torch.testing.assert_close(step, expected[case] * change.delta(), atol=1e-5, rtol=1e-4)

    check_each(expected, check)


def test_scaled_by_the_inverse_averages_the_models_after_each_training() -> None:
    layer, mean = learned(1), torch.zeros(OUT, IN)
    for number in range(1, 5):
        change = factors(7 * number)
        mean = mean + (layer.current + change.delta() - mean) / number
        weight = folded("scaled", layer, change, schedule="inverse")
        torch.testing.assert_close(weight, mean, rtol=1e-4, atol=1e-4)
        layer = Layer("layer", layer.origin, weight, number=number + 1)


def test_rand_norm_begins_with_the_norm_of_the_published_start() -> None:
    layer = learned()
    down = begun("rand_norm", layer).factors.down
    published = begun("orthogonal", layer, mode="paper").factors.down
    gaussian = begun("merge", layer).factors.down
    torch.testing.assert_close(down.norm(), published.norm())
    torch.testing.assert_close(down / down.norm(), gaussian / gaussian.norm())
    many = torch.cat([begun_at(seed) for seed in range(50)])
    torch.testing.assert_close(down.norm() / many.norm(dim=(1, 2)).mean(), torch.tensor(RANK**0.5),
                               rtol=0.05, atol=0)  # fmt: skip


def begun_at(seed: int) -> Tensor:
    return strategies.load("merge").begin(learned(), RANK, ALPHA, rng(seed)).factors.down[None]


def test_opcm_takes_out_the_diagonal_and_the_leading_block() -> None:
    layer, tau = learned(), factors(3).delta()
    left, values, turned = np.linalg.svd(layer.earlier.double().numpy(), full_matrices=False)
    used = int((values > 1e-4 * values[0]).sum())
    leading = int((values.cumsum() <= 0.5 * values.sum()).sum())
    assert used == 2 * RANK
    assert leading > 1
    kept = left.T @ outside(tau, layer.earlier).double().numpy() @ turned.T
    before = left.T @ tau.double().numpy() @ turned.T
    np.testing.assert_allclose(kept[:leading, :leading], 0, atol=1e-3)
    np.testing.assert_allclose(np.diag(kept)[:used], 0, atol=1e-3)
    same = ~np.eye(len(kept), dtype=bool)
    same[:leading, :leading] = False
    np.testing.assert_allclose(kept[same], before[same], atol=1e-3)


def test_opcm_is_the_papers_chain() -> None:
    """Its update rule by hand over four concepts, lambda and norms included."""
    opcm, layer = strategies.load("opcm"), learned(1)
    merged, scale, norms = np.zeros((OUT, IN)), 1.0, []
    for number in range(1, 5):
        change = factors(9 * number)
        tau = change.delta().double().numpy()
        norms.append(np.linalg.norm(tau))
        if number == 1:
            merged = tau
        else:
            projected = outside(change.delta(), torch.from_numpy(merged).float()).double().numpy()
            total = scale * merged + projected
            scale = np.linalg.norm(total) / np.mean(norms)
            merged = total / scale
        fold = opcm.fold(layer, change)
        layer = Layer("layer", layer.origin, fold.weight, fold.memory, number=number + 1)
        np.testing.assert_allclose(layer.earlier.numpy(), merged, atol=1e-3)
        np.testing.assert_allclose(float(fold.memory["scale"]), scale, rtol=1e-3)
        np.testing.assert_allclose(float(layer.earlier.norm()), np.mean(norms), rtol=1e-3)


def test_slao_replaces_down_and_averages_up() -> None:
    slao, layer = strategies.load("slao"), learned(1)
    first = factors(1)
    fold = slao.fold(layer, first)
    assert torch.equal(fold.weight, layer.origin + first.delta())
    layer = Layer("layer", layer.origin, fold.weight, fold.memory, number=2)
    start = slao.begin(layer, RANK, ALPHA, rng())
    down = start.factors.down.double().numpy()
    np.testing.assert_allclose(down @ down.T, np.eye(RANK), atol=1e-5)
    np.testing.assert_allclose(start.factors.delta().numpy(), first.delta().numpy(), atol=1e-4)
    torch.testing.assert_close(start.frozen, layer.origin, rtol=0, atol=1e-4)
    trained = Factors(start.factors.down + factors(5).down, start.factors.up + factors(5).up, ALPHA)
    weight = slao.fold(layer, trained).weight
    up = start.factors.up.double() + (trained.up - start.factors.up).double() / np.sqrt(2)
    change = ALPHA / RANK * up.numpy() @ trained.down.double().numpy()
    np.testing.assert_allclose(weight.numpy(), layer.origin.numpy() + change, atol=1e-3)


def test_slao_counts_the_concepts_in_its_adapter() -> None:
    slao, layer = strategies.load("slao"), learned(1)
    for number in range(1, 4):
        fold = slao.fold(layer, factors(number))
        assert float(fold.memory["concepts"]) == number
        layer = Layer("layer", layer.origin, fold.weight, fold.memory, number=number + 1)
    other = slao.fold(layer, factors(1, rank=2))
    assert float(other.memory["concepts"]) == 1
    torch.testing.assert_close(other.weight, layer.current + factors(1, rank=2).delta())


def test_slao_refuses_what_it_cannot_go_on_with() -> None:
    from clora_ext.adapters.delta import DenseDelta

    with pytest.raises(UsageError, match="not a pair of low-rank factors"):
        strategies.load("slao").fold(learned(), DenseDelta(torch.ones(OUT, IN)))


def test_thin_svd_is_numpys() -> None:
    matrix = learned().earlier
    left, values, right = thin_svd(matrix, rng())
    expected = np.linalg.svd(matrix.double().numpy(), compute_uv=False)[: len(values)]
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-4)
    torch.testing.assert_close(left * values @ right.T, matrix, rtol=0, atol=1e-2)
    torch.testing.assert_close(left.T @ left, torch.eye(len(values)), rtol=0, atol=1e-3)
    assert thin_svd(torch.zeros(3, 4), rng())[1].shape == (0,)
