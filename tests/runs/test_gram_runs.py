"""Runs by the strategies that keep what layers have read: gram, and distill with it."""

import shutil
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from learned import Learned
from small_runs import SETTINGS, another, memory_of, stop_at, with_settings, with_source

from clora_ext import Lora, Project, Request, Settings, add_concept, estimate, make_plan
from clora_ext.adapters.moments import Moment
from clora_ext.adapters.sites import Target
from clora_ext.errors import Cancelled
from clora_ext.events import TrainStep
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.header import read_header
from clora_ext.formats.kept_inputs import kept_bytes, read_moments
from clora_ext.formats.memory import PROMPTS_KEY, strategy_bytes
from clora_ext.runs.context import project_context


def held(request: Request, strategy: str = "gram", **options: object) -> Request:
    return with_settings(request, strategy=strategy, strategy_options={"drawings": 2, **options})


def moments(project: Path) -> dict[str, Moment]:
    return read_moments(Checkpoint(memory_of(project)))


def state_bytes(project: Path) -> int:
    return Project.open(project).disk_usage().strategy


@pytest.mark.long
def test_a_strength_of_nothing_is_merge_bit_for_bit_and_measures_all_the_same(
    request_: Request, tmp_path: Path
) -> None:
    hashes, states = [], []
    for number, asked in enumerate(
        (with_settings(request_, strategy="merge"), held(request_, strength=0), held(request_))
    ):
        project = tmp_path / f"{number}" / "model"
        project.parent.mkdir()
        add_concept(replace(asked, project=project))
        hashes.append(add_concept(another(replace(asked, project=project), "cat_images")).content_hash)
        states.append(state_bytes(project))
    assert hashes[0] == hashes[1] != hashes[2]
    assert states[0] == 0
    assert states[1] == states[2] > 0


@pytest.mark.long
def test_the_penalty_is_part_of_the_loss_from_the_first_concept_on(request_: Request) -> None:
    """It begins at nothing with the adapter; of a very strong one, hardly anything is learned."""
    losses: dict[float, list[float]] = {}
    for strength in (0.0, 1e6):
        found = losses[strength] = []

        def sink(event: object, found: list[float] = found) -> None:
            if isinstance(event, TrainStep):
                found.append(event.loss)

        asked = replace(request_, project=request_.project / f"{strength:g}")
        add_concept(held(asked, strength=strength), sink)
    assert losses[0.0][0] == losses[1e6][0]
    assert losses[1e6][2] > losses[0.0][2] + 1


@pytest.mark.long
def test_a_resumed_run_is_the_same_bit_for_bit(request_: Request) -> None:
    for strategy, options in (("gram", {"drawings": 2}), ("distill_gram", {})):
        asked = with_settings(request_, strategy=strategy, strategy_options=options)
        first = replace(asked, project=request_.project.parent / f"straight_{strategy}")
        add_concept(first)
        second = another(first, f"{strategy}_images")
        straight = add_concept(second)
        again = replace(first, project=request_.project.parent / f"resumed_{strategy}")
        add_concept(again)
        resumed_request = replace(second, project=again.project)
        for step in (2, 5):
            with pytest.raises(Cancelled):
                add_concept(resumed_request, stop_at(step))
        resumed = add_concept(resumed_request)
        assert resumed.content_hash == straight.content_hash
        assert memory_of(again.project).read_bytes() == memory_of(first.project).read_bytes()


@pytest.mark.long
def test_the_state_is_as_large_as_the_plan_says_and_does_not_grow(request_: Request) -> None:
    plan = make_plan(held(request_))
    add_concept(plan.request)
    first = state_bytes(request_.project)
    assert first == kept_bytes(plan.layers) == strategy_bytes(read_header(memory_of(request_.project)))
    widths = {layer.input_name: layer.shape[1] for layer in plan.layers}
    assert first == sum(width * (width + 1) for width in widths.values())  # two bytes a number
    assert len(widths) < 0.6 * len(plan.layers)
    kept = {name: moment.mean_variance for name, moment in moments(request_.project).items()}
    assert kept.keys() == widths.keys()
    add_concept(another(held(request_), "cat_images"))
    assert state_bytes(request_.project) == first
    now = moments(request_.project)
    assert all(now[name].mean_variance > 1.2 * kept[name] for name in kept)  # two and one of about equal size
    assert Project.open(request_.project).concepts[0].state_level == "L2"
    third = another(request_, "owl_images", seed=2)
    larger, smaller = (
        estimate(make_plan(one)) for one in (held(third), with_settings(third, strategy="merge"))
    )
    assert larger.memory is not None
    assert smaller.memory is not None
    assert larger.memory > smaller.memory


@pytest.mark.long
def test_nothing_of_the_past_is_kept_but_sums_over_all_of_it(request_: Request, learned: Learned) -> None:
    """No words, no pictures, no latents, no adapters: a matrix for each input, over anchors and concepts."""
    learned(held(request_), another(held(request_), "cat_images"))
    header = read_header(memory_of(request_.project))
    assert PROMPTS_KEY not in header.metadata
    own = {name: info for name, info in header.tensors.items() if info.dtype == "BF16"}
    assert {name.rpartition("::")[2] for name in own} == {"triangle"}
    assert sum(2 * prod(info.shape) for info in own.values()) == strategy_bytes(header)
    rest = {name.rpartition("::")[2] for name in header.tensors if name not in own}
    assert rest == {"residual", "clora.digests"}


@pytest.mark.long
def test_inputs_that_nobody_reads_now_stay_and_new_ones_are_measured_first(
    request_: Request, learned: Learned
) -> None:
    """Layers may change from concept to concept: attention alone, then all, then attention again."""
    learned(held(request_))
    few = moments(request_.project)
    more = with_settings(held(another(request_, "cat_images")), targets="transformer")
    add_concept(more)
    many = moments(request_.project)
    assert few.keys() < many.keys()
    new = next(name for name in sorted(many.keys() - few.keys()) if name.endswith("net.2"))
    add_concept(another(held(request_), "owl_images", seed=2))
    last = moments(request_.project)
    assert last.keys() == many.keys()
    assert torch.equal(last[new].factor, many[new].factor)


def test_another_strategys_statistics_are_not_read(request_: Request, learned: Learned) -> None:
    learned(held(request_))
    add_concept(with_settings(another(request_, "cat_images"), strategy="mask", strategy_options={}))
    assert state_bytes(request_.project) == 0
    project = Project.open(request_.project)
    evolving = make_plan(held(another(request_, "owl_images", seed=2))).context.evolving()
    assert evolving.past_inputs("gram") == {}
    assert project.number == 2


@pytest.mark.long
def test_any_strategy_may_follow_any_other(request_: Request) -> None:
    order = ("gram", "mask", "gram", "distill", "distill_gram", "naive", "gram", "distill_gram", "orthogonal")
    for number, strategy in enumerate(order):
        asked = request_ if number == 0 else another(request_, f"x{number}_images", seed=number)
        options: dict[str, Any] = {"drawings": 1} if strategy == "gram" else {}
        add_concept(
            with_settings(
                asked, strategy=strategy, strategy_options=options, steps=2, warmup_steps=0, sheet="none"
            )
        )
    assert Project.open(request_.project).number == len(order)


@pytest.mark.long
def test_a_finished_lora_answers_to_the_past_the_less_the_more_that_weighs(
    request_: Request, tmp_path: Path
) -> None:
    """And its statistics join the others'. With no weight on the past it is merge, bit for bit."""
    kept = tmp_path / "kept.safetensors"
    add_concept(with_source(replace(request_, project=tmp_path / "other"), export_lora=kept))
    taught = tmp_path / "taught"
    add_concept(held(replace(request_, project=taught)))
    past, weights = moments(taught), exact_weights(taught)
    quick = Settings.of(sample_steps=2, sample_count=1, kept_count=0, resolution=32, strategy="gram")
    answers, hashes = [], []
    for number, strength in enumerate((0, 1, 10)):
        project = tmp_path / f"{number}"
        shutil.copytree(taught, project)
        lora = Request(Lora(kept, weight=3), project, token="xyz", class_name="cat", settings=quick)
        hashes.append(add_concept(held(lora, lora_strength=strength)).content_hash)
        after = exact_weights(project)
        answers.append(sum(past[layer.input_name].energy(after[layer] - weights[layer]) for layer in weights))
        now = moments(project)
        assert all(now[name].mean_variance > 1.2 * past[name].mean_variance for name in past)
    assert answers[0] > 1.5 * answers[1] > 3 * answers[2] > 0
    merging = Request(Lora(kept, weight=3), taught, token="xyz", class_name="cat", settings=quick)
    assert add_concept(with_settings(merging, strategy="merge")).content_hash == hashes[0]


def exact_weights(folder: Path) -> dict[Target, torch.Tensor]:
    """Of the layers that are taught, in float32."""
    context = project_context(Project.open(folder), None)
    layers = context.family.targets(context.header, SETTINGS.adapter.targets, text_encoders=False)
    evolving = context.evolving()
    return {layer: evolving.layer(layer, "").current for layer in layers}
