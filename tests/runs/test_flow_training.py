"""Ways of training a model of flow matching: what they keep, what they give, and what they do not change."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each, empty_folder
from flow_families import ANIMA, KLEIN, KREA_2, Z_IMAGE, family_id
from safetensors.torch import load_file
from small_runs import FLOW, Taught, another, by_strategy, pictures

from clora_ext import Lora, Pictures, Request, add_concept, make_plan
from clora_ext.errors import CheckpointError
from clora_ext.events import Event, Note

of_the_smallest = pytest.mark.parametrize("family", [Z_IMAGE], indirect=True, ids=family_id)
others_slowly = pytest.mark.parametrize(
    "family",
    [Z_IMAGE, *(pytest.param(one, marks=pytest.mark.slow) for one in (KLEIN, ANIMA, KREA_2))],
    indirect=True,
    ids=family_id,
)


def learned(asked: Request, place: Path, **values: Any) -> str:
    """Content hash of the model with the concept, learned in a folder of its own."""
    settings = FLOW.with_values(**values)
    return add_concept(replace(asked, project=empty_folder(place) / "model", settings=settings)).content_hash


@pytest.mark.long
@others_slowly
def test_activations_that_are_computed_again_are_the_same(
    asked: Request, taught: Taught, tmp_path: Path
) -> None:
    assert learned(asked, tmp_path, gradient_checkpointing=True) == taught.done.content_hash
    again = learned(asked, tmp_path, fp8_base=True, gradient_checkpointing=True)
    assert again != taught.done.content_hash


@pytest.mark.long
@of_the_smallest
def test_weights_in_8_bits_teach_the_same_whatever_is_computed_again(asked: Request, tmp_path: Path) -> None:
    narrow = learned(asked, tmp_path, fp8_base=True)
    assert learned(asked, tmp_path, fp8_base=True, gradient_checkpointing=True) == narrow


@of_the_smallest
def test_what_is_asked_of_clip_changes_nothing(asked: Request, taught: Taught, tmp_path: Path) -> None:
    """A language model is read in one way alone."""
    found = learned(asked, tmp_path, clip_skip=2, max_token_length=150)
    assert found == taught.done.content_hash


WAYS: Mapping[str, Mapping[str, Any]] = {
    "DoRA": {"dora": True},
    "huber": {"loss_type": "huber", "huber_schedule": "exponential"},
    "noises": {"noise_offset": 0.05, "multires_noise_iterations": 3},
    "times": {"min_timestep": 300, "max_timestep": 800},
    "attention": {"targets": "attention"},
}
MORE_WAYS: Mapping[str, Mapping[str, Any]] = {
    **WAYS,
    "averages": {"ema_decay": 0.9},
    "the class": {"preserve_class": 1.0},
    "dropped captions": {"caption_dropout": 0.5},
    "mirrored and cut": {"flip_aug": True, "random_crop": True},
    "held out": {"validation_split": 0.34},
}


@pytest.mark.long
@of_the_smallest
def test_what_else_may_be_asked_of_a_training(asked: Request, taught: Taught, tmp_path: Path) -> None:
    check_that_they_differ(WAYS, asked, taught, tmp_path)


@pytest.mark.slow
def test_whatever_else_may_be_asked_of_a_training(asked: Request, taught: Taught, tmp_path: Path) -> None:
    check_that_they_differ(MORE_WAYS, asked, taught, tmp_path)


def check_that_they_differ(
    ways: Mapping[str, Mapping[str, Any]], asked: Request, taught: Taught, place: Path
) -> None:
    found: dict[str, str] = {}

    def check(way: str) -> None:
        found[way] = learned(asked, place, **ways[way])

    check_each(ways, check)
    assert len({taught.done.content_hash, *found.values()}) == len(ways) + 1


@pytest.mark.long
@of_the_smallest
def test_strategies_that_look_into_the_layers_fold_a_second_concept(asked: Request, tmp_path: Path) -> None:
    check_that_they_fold(["gram", "ewc"], asked, tmp_path)
    with pytest.raises(CheckpointError, match="no layer to teach"):  # there is no cross-attention
        make_plan(replace(asked, settings=FLOW.with_values(strategy="kvnull")))


@pytest.mark.slow
def test_more_strategies_fold_a_second_concept(asked: Request, tmp_path: Path) -> None:
    check_that_they_fold(["distill", "gram", "ewc", "orthogonal"], asked, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", [ANIMA], indirect=True, ids=family_id)
def test_cross_attention_alone_can_be_taught_where_there_is_some(asked: Request, tmp_path: Path) -> None:
    check_that_they_fold(["kvnull"], asked, tmp_path)
    plan = make_plan(replace(asked, project=tmp_path / "x", settings=FLOW.with_values(strategy="kvnull")))
    assert {target.original.rpartition(".")[2] for target in plan.targets} == {"k_proj", "v_proj"}


def check_that_they_fold(strategies: Sequence[str], asked: Request, place: Path) -> None:
    more = pictures(place / "cat_images", seed=1)

    def check(strategy: str) -> None:
        settings = FLOW.with_values(**by_strategy(strategy), steps=2)
        first = replace(asked, project=empty_folder(place) / "model", settings=settings)
        one = add_concept(first)
        two = add_concept(replace(first, base=None, source=Pictures(more)))
        assert (one.number, two.number) == (1, 2)
        assert one.content_hash != two.content_hash

    check_each(strategies, check)


@pytest.mark.long
@of_the_smallest
def test_the_adapter_is_kept_taken_further_and_folded_elsewhere(asked: Request, tmp_path: Path) -> None:
    kept, cache = tmp_path / "kept.safetensors", tmp_path / "cache"
    assert isinstance(asked.source, Pictures)
    source = replace(asked.source, export_lora=kept, cache_dir=cache)
    done = add_concept(replace(asked, source=source))
    layers = {name.rsplit(".", 2)[0] for name in load_file(kept) if not name.endswith(".alpha")}
    assert len(layers) == 14
    assert all(name.startswith("diffusion_model.layers.") for name in layers)
    again = add_concept(
        replace(asked, project=tmp_path / "again", source=replace(asked.source, cache_dir=cache))
    )
    assert again.content_hash == done.content_hash  # by what the encoders said the first time
    further = replace(another(asked, "cat_images"), project=tmp_path / "further", base=asked.base)
    assert isinstance(further.source, Pictures)
    add_concept(replace(further, source=replace(further.source, start_from=kept)))
    events: list[Event] = []
    folded = add_concept(replace(asked, project=tmp_path / "folded", source=Lora(kept)), events.append)
    assert not [event for event in events if isinstance(event, Note) and "no place" in event.text]
    trained, merged = load_file(done.checkpoint), load_file(folded.checkpoint)
    for name, tensor in trained.items():  # the file's factors are rounded to fp16
        torch.testing.assert_close(merged[name].float(), tensor.float(), atol=1e-3, rtol=1e-2)
