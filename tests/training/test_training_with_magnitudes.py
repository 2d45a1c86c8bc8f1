"""How magnitudes beside a LoRA are trained: dropout, penalties, decay, and what does not go with them."""

from typing import Any

import pytest
import torch
from cases import check_each
from magnitude_layers import ALPHA, NAME, RANK, inputs, learned, made, moved, reader, with_ours
from torch import Tensor, nn

from clora_ext import strategies
from clora_ext.adapters.factors import Factors
from clora_ext.config.network_settings import NetworkSettings
from clora_ext.config.precision import Precision
from clora_ext.config.settings import AlgorithmSettings, OptimizerSettings, Settings
from clora_ext.strategies.base import Constraint, Layer
from clora_ext.training.dropout import Dropout
from clora_ext.training.optimizer import TrainingOptimizer


@pytest.mark.long
def test_dropout_leaves_the_norm_alone_and_a_layer_that_is_left_out_changes_nothing() -> None:
    layer = made("linear")
    x = inputs("linear", layer)

    def at(settings: NetworkSettings, batch: int) -> Tensor:
        adapter, magnitudes = with_ours(layer)
        moved(adapter)
        dropout = Dropout(settings, seed=1)
        inside: Any = adapter.layer
        dropout.attach("layer", inside.lora_A[NAME])
        dropout.attach_layer("layer", magnitudes.computes)
        with dropout.at(batch):
            return adapter(x).detach()

    whole = at(NetworkSettings(), 0)
    layers = [at(NetworkSettings(module_dropout=0.5), batch) for batch in range(20)]
    assert {torch.equal(one, whole) for one in layers} == {True, False}
    assert all(torch.equal(one, whole) or torch.equal(one, layer(x)) for one in layers)
    numbers = torch.stack([at(NetworkSettings(network_dropout=0.3), batch) for batch in range(800)])
    assert not torch.equal(numbers[0], whole)
    assert (numbers.mean(dim=0) - whole).norm() / (whole - layer(x)).norm() < 0.05


CONSTRAINED = [name for name in strategies.names() if not strategies.load(name).projects]


def constraints() -> dict[str, Constraint]:
    """Of a layer that has learned something, by strategy."""
    rng = torch.Generator().manual_seed(0)
    origin, change = torch.randn(20, 12, generator=rng), 0.1 * torch.randn(20, 12, generator=rng)
    past = {"rows": torch.rand(20, generator=rng), "columns": torch.rand(12, generator=rng)}
    found = {}
    for name in CONSTRAINED:
        strategy = strategies.load(name)
        memory = past if name == "ewc" else {}
        layer = Layer("layer", origin, origin + change, memory, number=2)
        constraint = strategy.begin(layer, RANK, ALPHA, rng).constraint
        if constraint is not None:
            found[name] = constraint
    return found


def test_a_penalty_is_that_of_the_whole_change() -> None:
    """Of a pair of factors it is what their product has."""
    found = constraints()
    assert {"clora", "ewc", "l2"} <= found.keys()

    def check(name: str) -> None:
        constraint = found[name]
        rng = torch.Generator().manual_seed(1)
        pair = Factors(torch.randn(RANK, 12, generator=rng), torch.randn(20, RANK, generator=rng), ALPHA)
        ours, theirs = constraint.penalty_of_change(pair.delta()), constraint.penalty(pair)
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)

    check_each(found, check)


def test_a_penalty_reaches_all_three_parts() -> None:
    layer = made("linear")
    adapter, magnitudes = with_ours(layer)
    moved(adapter)
    parts = adapter.parts

    def penalty(*, computed_again: bool) -> list[Tensor]:
        factors = Factors(parts["down"], parts["up"], ALPHA)
        for part in parts.values():
            part.grad = None
        if computed_again:
            value = magnitudes.penalty(factors, lambda change: change.square().sum())
        else:
            value = magnitudes.change(factors).square().sum()
        assert value is not None
        value.backward()
        return [value.detach(), *(part.grad.clone() for part in parts.values() if part.grad is not None)]

    plain, again = penalty(computed_again=False), penalty(computed_again=True)
    assert len(plain) == 4
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    delta = learned(adapter, magnitudes)
    assert delta.started is not None  # it began as its own change
    torch.testing.assert_close(plain[0], delta.over(reader(layer)).delta().square().sum(), rtol=1e-4, atol=0)


def test_magnitudes_do_not_decay() -> None:
    """Decay would take a weight to nothing, and not to what it was."""
    pair, magnitude = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    settings = OptimizerSettings(learning_rate=0.1, weight_decay=0.5)
    optimizer = TrainingOptimizer(
        [([pair], 1.0), ([magnitude], 1.0)],
        settings,
        Precision(torch.device("cpu"), torch.float32, "a test"),
        AlgorithmSettings(),
        undecayed=[magnitude],
    )
    optimizer.backward((0 * pair + 0 * magnitude).sum())
    optimizer.step(0.1)
    assert pair.tolist() == pytest.approx([0.95] * 3)
    assert magnitude.tolist() == [1.0] * 3


def test_a_limit_on_norms_of_factors_is_none_on_what_is_more() -> None:
    told = Settings.of(dora=True, scale_weight_norms=1.0).problems()
    assert "leave one of the two out" in " ".join(told)
    assert not Settings.of(dora=True, network_dropout=0.1, ema_decay=0.9, rslora=True).problems()
