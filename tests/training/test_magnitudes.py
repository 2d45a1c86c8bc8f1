"""Magnitudes beside a LoRA (DoRA): peft judges what they compute, learn and merge."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from cases import check_each
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from clora_ext import strategies
from clora_ext.adapters.decomposed import RowReader, TrainedDecomposition
from clora_ext.adapters.factors import Factors
from clora_ext.config.network_settings import NetworkSettings
from clora_ext.config.precision import Precision
from clora_ext.config.settings import AlgorithmSettings, OptimizerSettings, Settings
from clora_ext.strategies.base import Constraint, Layer
from clora_ext.training.dropout import Dropout
from clora_ext.training.magnitudes import Magnitudes
from clora_ext.training.optimizer import TrainingOptimizer

RANK, ALPHA, NAME = 4, 3.0, "concept"
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(12, 20),
    "without a bias": lambda: nn.Linear(20, 12, bias=False),
    "3 x 3": lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1),
    "1 x 1": lambda: nn.Conv2d(6, 8, 1, bias=False),
}


@dataclass
class Adapted:
    """A layer with a DoRA of peft, and the parts of it."""

    layer: BaseTunerLayer

    @property
    def parts(self) -> dict[str, nn.Parameter]:
        inside: Any = self.layer
        return {
            "down": inside.lora_A[NAME].weight,
            "up": inside.lora_B[NAME].weight,
            "magnitude": inside.lora_magnitude_vector[NAME].weight,
        }

    @property
    def factors(self) -> Factors:
        down, up = (self.parts[one].detach().flatten(1).clone() for one in ("down", "up"))
        return Factors(down, up, ALPHA)

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found


def adapted(layer: nn.Module, seed: int = 0, *, up: float = 0.3) -> Adapted:
    """With chance in both halves; the upper one ``up`` times a normal distribution."""
    module = nn.Sequential(deepcopy(layer))
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["0"], use_dora=True)  # type: ignore[arg-type]
    inject_adapter_in_model(config, module, adapter_name=NAME)
    (found,) = (one for one in module.modules() if isinstance(one, BaseTunerLayer))
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part, scale in (("down", 0.3), ("up", up)):
            parameter = Adapted(found).parts[part]
            parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
    return Adapted(found)


def with_ours(layer: nn.Module, seed: int = 0, *, up: float = 0.3) -> tuple[Adapted, Magnitudes]:
    """The same with the magnitudes that are trained here."""
    found = adapted(layer, seed, up=up)
    return found, Magnitudes.of(found.layer, NAME, found.factors)


def moved(*layers: Adapted, by: float = 0.3) -> None:
    """As if the magnitudes had been trained."""
    for one in layers:
        parameter = one.parts["magnitude"]
        rng = torch.Generator().manual_seed(7)
        with torch.no_grad():
            parameter.mul_(1 + by * torch.rand(parameter.numel(), generator=rng).reshape(parameter.shape))


def inputs(kind: str, layer: nn.Module) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    shape = (2, 6, 7, 7) if "x" in kind else (2, 5, layer.in_features)
    return torch.randn(shape, generator=rng)  # type: ignore[arg-type]  # in_features is a number


def reader(layer: nn.Module) -> RowReader:
    matrix = layer.get_parameter("weight").detach().flatten(1).float()
    return lambda start, stop: matrix[start:stop].clone()


def learned(adapter: Adapted, magnitudes: Magnitudes) -> TrainedDecomposition:
    return magnitudes.learned(adapter.factors)


def made(kind: str) -> nn.Module:
    torch.manual_seed(len(kind))
    return LAYERS[kind]()


def test_what_is_computed_and_learned_is_pefts() -> None:
    def check(kind: str) -> None:
        layer = made(kind)
        theirs, (ours, _) = adapted(layer), with_ours(layer)
        with torch.no_grad():  # peft takes its own when the adapter is put in, before the halves are
            theirs.parts["magnitude"].copy_(ours.parts["magnitude"])
        moved(theirs, ours)
        found = []
        for one in (theirs, ours):
            x = inputs(kind, layer).requires_grad_()
            y = one(x)
            y.square().sum().backward()
            found.append([y.detach(), x.grad, *(part.grad for part in one.parts.values())])
        for wanted, got in zip(*found, strict=True):
            assert wanted is not None
            assert got is not None
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
            assert got.any()

    check_each(LAYERS, check)


def test_what_is_folded_is_what_peft_merges() -> None:
    def check(kind: str) -> None:
        layer = made(kind)
        adapter, magnitudes = with_ours(layer, up=0)
        with torch.no_grad():
            adapter.parts["up"].normal_(0, 0.3)
        moved(adapter)
        trained = learned(adapter, magnitudes)
        delta = trained.over(reader(layer)).delta()
        theirs = adapted(layer)
        with torch.no_grad():
            for part, value in adapter.parts.items():
                theirs.parts[part].copy_(value)
        inside: Any = theirs.layer
        inside.merge(safe_merge=True)
        merged = inside.get_base_layer().weight.detach().flatten(1)
        before = layer.get_parameter("weight").detach().flatten(1)
        torch.testing.assert_close(before + delta, merged, rtol=1e-5, atol=1e-6)
        # Of the change itself, which a subtraction of merged weights rounds as the weights are.
        exact = torch.linalg.norm(before.double() + trained.factors.delta(), dim=1, keepdim=True)
        direction = (before.double() + trained.factors.delta()) / exact
        whole = adapter.parts["magnitude"].detach().reshape(-1, 1).double() * direction - before
        torch.testing.assert_close(delta.double(), whole, rtol=1e-5, atol=1e-7)
        wanted = adapter.parts["magnitude"].detach().flatten()
        torch.testing.assert_close(trained.magnitude(reader(layer)), wanted)

    check_each(LAYERS, check)


def test_training_starts_at_exactly_the_frozen_weights() -> None:
    def check(case: tuple[str, torch.dtype]) -> None:
        kind, dtype = case
        layer = made(kind).to(dtype)
        adapter, magnitudes = with_ours(layer, up=0)
        x = inputs(kind, layer).to(dtype)
        assert torch.equal(adapter(x), layer(x))
        assert not learned(adapter, magnitudes).over(reader(layer)).delta().any()

    check_each(product(LAYERS, (torch.float32, torch.bfloat16, torch.float16)), check)


def test_what_is_trained_over_rounded_weights_is_folded_onto_the_exact_ones() -> None:
    def check(kind: str) -> None:
        layer = made(kind)
        rounded = deepcopy(layer).to(torch.bfloat16)
        adapter, magnitudes = with_ours(rounded, up=0)
        assert not learned(adapter, magnitudes).over(reader(layer)).delta().any()
        moved(adapter)
        trained = learned(adapter, magnitudes)
        grown = (adapter.parts["magnitude"].detach() - magnitudes.began).reshape(-1, 1)
        weight = layer.get_parameter("weight").detach().flatten(1)
        direction = weight / weight.norm(dim=1, keepdim=True)
        torch.testing.assert_close(trained.over(reader(layer)).delta(), grown * direction)

    check_each(LAYERS, check)


def test_an_adapter_that_begins_as_something_begins_with_the_norms_of_that() -> None:
    def check(kind: str) -> None:
        layer = made(kind)
        adapter, magnitudes = with_ours(layer)
        trained = learned(adapter, magnitudes)
        torch.testing.assert_close(
            trained.over(reader(layer)).delta(), adapter.factors.delta(), rtol=1e-5, atol=1e-6
        )
        with_lora = deepcopy(layer)
        weight = with_lora.get_parameter("weight")
        weight.data += adapter.factors.delta().reshape(weight.shape)
        x = inputs(kind, layer)
        torch.testing.assert_close(adapter(x), with_lora(x), rtol=1e-5, atol=1e-5)

    check_each(LAYERS, check)


def test_rows_of_a_change_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4608, 70)
    adapter, magnitudes = with_ours(layer)
    moved(adapter)
    delta = learned(adapter, magnitudes).over(reader(layer))
    assert delta.rank == 70
    assert torch.equal(delta.rows(16, 40).delta(), delta.delta()[16:40])
    torch.testing.assert_close(delta.scaled(0.5).delta(), delta.delta() / 2)


def test_a_row_of_zeros_stays_finite_and_is_folded_as_it_is_trained() -> None:
    """It has no direction to begin with, and then that of its change."""
    layer = made("without a bias")
    with torch.no_grad():
        layer.get_parameter("weight")[3] = 0
    adapter, magnitudes = with_ours(layer, up=0)
    x = inputs("without a bias", layer)
    assert torch.equal(adapter(x), layer(x))
    assert not learned(adapter, magnitudes).over(reader(layer)).delta().any()
    adapter(x).square().sum().backward()
    for part in adapter.parts.values():
        assert part.grad is not None
        assert part.grad.isfinite().all()
    with torch.no_grad():
        adapter.parts["up"].normal_(0, 0.01)
        adapter.parts["magnitude"] += 0.02
        trained = adapter(torch.eye(20)).T
    folded = layer.get_parameter("weight") + learned(adapter, magnitudes).over(reader(layer)).delta()
    torch.testing.assert_close(folded, trained, rtol=1e-5, atol=1e-6)
    assert float(folded[3].detach().norm()) == pytest.approx(0.02, rel=1e-3)


def test_the_norm_is_taken_in_float32_whatever_the_step_computes_in() -> None:
    """Where the magnitudes are the norms, a step in half precision gives the very bits of a plain LoRA."""

    def check(kind: str) -> None:
        layer = made(kind)
        adapter, _ = with_ours(layer)
        x = inputs(kind, layer)
        with torch.autocast("cpu", torch.bfloat16):
            inside: Any = adapter.layer
            change = inside.lora_B[NAME](inside.lora_A[NAME](x)) * (ALPHA / RANK)
            base = layer(x)
            assert torch.equal(adapter(x), (base + change).to(base.dtype))

    check_each(LAYERS, check)


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
