"""Ways of training a Flux.2 klein: what they keep, what they give, and what they do not change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import check_each, empty_folder
from small_runs import FLOW, pictures

from clora_ext import Pictures, Request, add_concept


def taught(asked: Request, place: Path, **values: Any) -> str:
    """Content hash of the model with the concept, learned in a folder of its own."""
    settings = FLOW.with_values(**{"steps": 3, **values})
    return add_concept(replace(asked, project=empty_folder(place) / "model", settings=settings)).content_hash


def test_activations_that_are_computed_again_are_the_same(asked_klein: Request, tmp_path: Path) -> None:
    plain = taught(asked_klein, tmp_path)
    assert taught(asked_klein, tmp_path, gradient_checkpointing=True) == plain
    assert taught(asked_klein, tmp_path, fp8_base=True, gradient_checkpointing=True) != plain


@pytest.mark.slow
def test_what_else_may_be_asked_of_a_training(asked_klein: Request, tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {}, {"dora": True}, {"targets": "attention"}, {"min_timestep": 300, "max_timestep": 800},
    ]  # fmt: skip
    assert len({taught(asked_klein, tmp_path, **values) for values in ways}) == len(ways)


@pytest.mark.slow
def test_strategies_that_look_into_the_layers_fold_a_second_concept(
    asked_klein: Request, tmp_path: Path
) -> None:
    more = pictures(tmp_path / "cat_images", seed=1)

    def check(strategy: str) -> None:
        settings = FLOW.with_values(strategy=strategy, steps=2)
        first = replace(asked_klein, project=empty_folder(tmp_path) / "model", settings=settings)
        one = add_concept(first)
        two = add_concept(replace(first, base=None, source=Pictures(more)))
        assert (one.number, two.number) == (1, 2)
        assert one.content_hash != two.content_hash

    check_each(["distill", "gram", "ewc", "orthogonal"], check)
