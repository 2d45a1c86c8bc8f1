"""The overlap of a new change with all earlier ones, against the formula in full."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_folds import SHAPES, TARGETS, adapters, start, taught

from clora_ext import strategies
from clora_ext.adapters.delta import DenseDelta
from clora_ext.adapters.factors import Factors
from clora_ext.evolving.interference import interference
from clora_ext.evolving.trained_concept import TrainedConcept


def concept(trained: dict[str, Factors]) -> TrainedConcept:
    return TrainedConcept(
        strategies.load("merge"), "merge", {name: TARGETS[name] for name in trained}, trained
    )


def in_full(new: dict[str, torch.Tensor], earlier: dict[str, torch.Tensor]) -> float:
    shared = sum(float((new[name] @ earlier[name].T).norm() ** 2) for name in new)
    sizes = sum(float(new[name].norm() ** 2 * earlier[name].norm() ** 2) for name in new)
    return float((shared / sizes) ** 0.5)


def test_it_is_the_formula_over_all_layers(tmp_path: Path) -> None:
    evolving = start(tmp_path)
    first, second = adapters(0), adapters(50)
    assert interference(evolving, concept(first)) is None  # nothing was learned before
    evolving = taught(evolving, "merge", first, tmp_path, 1)
    earlier = {name: factors.delta() for name, factors in first.items()}
    wanted = in_full({name: factors.delta() for name, factors in second.items()}, earlier)
    assert interference(evolving, concept(second)) == pytest.approx(wanted, rel=1e-2)
    assert 0.1 < wanted < 0.4  # about 1 / sqrt(in)
    again = interference(evolving, concept(first))
    assert again == pytest.approx(in_full(earlier, earlier), rel=1e-2)
    assert again is not None
    assert again > 1.5 * wanted


def test_changes_of_other_inputs_do_not_overlap(tmp_path: Path) -> None:
    def cut(factors: Factors, part: slice) -> Factors:
        down = torch.zeros_like(factors.down)
        down[:, part] = factors.down[:, part]
        return replace(factors, down=down)

    left = {name: cut(factors, slice(0, 10)) for name, factors in adapters(0, 0.1).items()}
    right = {name: cut(factors, slice(10, None)) for name, factors in adapters(50).items()}
    evolving = taught(start(tmp_path), "merge", left, tmp_path, 1)
    found = interference(evolving, concept(right))
    assert found is not None
    assert found < 0.02  # what rounding to half precision leaves in the residual


def test_what_an_adapter_began_with_is_no_change(tmp_path: Path) -> None:
    """`naive` goes on with the adapter that it has: only what it adds is new."""
    first, more = adapters(0), adapters(50)
    evolving = taught(start(tmp_path), "naive", first, tmp_path, 1)
    both = {
        name: Factors(
            torch.cat([first[name].down, more[name].down]), torch.cat([first[name].up, more[name].up], 1), 8.0
        )
        for name in SHAPES
    }
    going_on = replace(concept(both), started=first)
    earlier = {name: factors.delta() for name, factors in first.items()}
    wanted = in_full({name: factors.delta() for name, factors in more.items()}, earlier)
    assert interference(evolving, going_on) == pytest.approx(wanted, rel=1e-2)


def test_what_is_no_pair_of_factors_is_left_out(tmp_path: Path) -> None:
    evolving = taught(start(tmp_path), "merge", adapters(0), tmp_path, 1)
    dense = {name: DenseDelta(torch.ones(shape)) for name, shape in SHAPES.items()}
    assert interference(evolving, concept(dense)) is None  # type: ignore[arg-type]
