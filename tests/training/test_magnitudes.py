"""Magnitudes beside a LoRA (DoRA): peft judges what they compute, learn and merge."""

from copy import deepcopy
from itertools import product
from typing import Any

import pytest
import torch
from cases import check_each
from magnitude_layers import (
    ALPHA,
    LAYERS,
    NAME,
    RANK,
    adapted,
    inputs,
    learned,
    made,
    moved,
    reader,
    with_ours,
)
from torch import nn


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
