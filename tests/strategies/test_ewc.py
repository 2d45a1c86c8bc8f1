"""The Fisher information in its factored form against the dense one."""

import torch
from torch import Tensor

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.squared_gradients import SquaredGradients
from clora_ext.strategies import load
from clora_ext.strategies.base import Layer
from clora_ext.strategies.ewc import ImportantWeights

OUT, IN, RANK, ALPHA = 12, 20, 3, 6.0


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors() -> Factors:
    return Factors(torch.randn(RANK, IN, generator=rng(1)), torch.randn(OUT, RANK, generator=rng(2)), ALPHA)


def penalty(fisher: Tensor, trained: Factors, strength: float = 3.0) -> Tensor:
    sums = SquaredGradients(fisher.sum(dim=1), fisher.sum(dim=0))
    found = ImportantWeights(sums, strength).to(torch.device("cpu")).penalty(trained)
    assert found is not None
    return found


def test_factored_equals_dense_where_the_information_is_of_rank_one() -> None:
    rank_one = torch.rand(OUT, 1, generator=rng(3)) * torch.rand(1, IN, generator=rng(4))
    dense = 1.5 * (rank_one * factors().delta().square()).sum()
    torch.testing.assert_close(penalty(rank_one, factors()), dense)
    other = torch.rand(OUT, IN, generator=rng(5)).square()
    dense = 1.5 * (other * factors().delta().square()).sum()
    assert float((penalty(other, factors()) / dense - 1).abs()) > 1e-3


def test_its_gradient_is_the_information_times_the_change() -> None:
    rank_one = torch.rand(OUT, 1, generator=rng(3)) * torch.rand(1, IN, generator=rng(4))
    delta = factors().delta().requires_grad_()
    penalty(rank_one, Factors(torch.eye(IN), delta, float(IN))).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(delta.grad, 3.0 * rank_one * delta.detach())


def test_information_is_summed_over_concepts() -> None:
    ewc, weight = load("ewc"), torch.randn(OUT, IN, generator=rng())
    first = SquaredGradients.of(torch.randn(OUT, IN, generator=rng(6)))
    second = SquaredGradients.of(torch.randn(OUT, IN, generator=rng(7)))
    assert ewc.begin(Layer("layer", weight, weight), RANK, ALPHA, rng()).constraint is None
    fold = ewc.fold(Layer("layer", weight, weight, gradients=first), factors())
    assert torch.equal(fold.weight, weight + factors().delta())
    layer = Layer("layer", weight, fold.weight, fold.memory, gradients=second, number=2)
    held = ewc.begin(layer, RANK, ALPHA, rng()).constraint
    assert isinstance(held, ImportantWeights)
    assert torch.equal(held.fisher.rows, first.rows)
    assert torch.equal(ewc.fold(layer, factors()).memory["columns"], first.columns + second.columns)
    loose = load("ewc", {"strength": 0}).begin(layer, RANK, ALPHA, rng())
    assert loose.constraint is None
