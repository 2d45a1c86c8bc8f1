"""Whole runs by other optimisers and of several batches a step."""

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from small_runs import another, stop_at, with_settings
from torch import Tensor

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.errors import Cancelled
from clora_ext.events import Event, TrainStep
from clora_ext.runs.context import project_context


def stopped_twice(request: Request) -> str:
    """What a run makes that was stopped in between."""
    for step in (2, 5):
        with pytest.raises(Cancelled):
            add_concept(request, stop_at(step))
    return add_concept(request).content_hash


@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["Prodigy", "ProdigyPlusScheduleFree", "Lion"])
def test_runs_are_resumed_bit_for_bit_with_previews_and_a_row_of_its_own(
    request_: Request, optimizer: str
) -> None:
    rate = 1.0 if "Prodigy" in optimizer else 1e-3
    asked = with_settings(request_, strategy="distill", optimizer_type=optimizer, learning_rate=rate)
    straight = add_concept(replace(asked, project=request_.project / "straight"))
    looked_at = with_settings(replace(asked, project=request_.project / "stopped"), preview_every=2)
    assert stopped_twice(looked_at) == straight.content_hash
    usual = with_settings(replace(request_, project=request_.project / "plain"), strategy="distill")
    plain = add_concept(usual)
    assert plain.content_hash != straight.content_hash


def weights(project: Path) -> dict[str, Tensor]:
    """What the attention layers have learned so far, to float32."""
    context = project_context(Project.open(project), None, ())
    evolving = context.evolving()
    targets = context.family.targets(context.header, "attention", text_encoders=False)
    return {target.name: evolving.layer(target, "").earlier for target in targets}


@pytest.mark.long
def test_what_an_optimiser_averages_stays_where_its_strategy_allows(request_: Request) -> None:
    """The averaged weights are folded, and what earlier concepts use is closed to them, too."""
    averaging = {"optimizer_type": "AdamWScheduleFree", "learning_rate": 0.02, "warmup_steps": 0}
    asked = with_settings(request_, strategy="orthogonal", **averaging)
    add_concept(asked)
    first = weights(request_.project)
    add_concept(another(asked, "cat_images"))
    second = weights(request_.project)
    shares = []
    for name, earlier in first.items():
        new = second[name] - earlier
        assert new.norm() > 0
        shares.append(float((new @ earlier.T).norm() / (new.norm() * earlier.norm())))
    # All but 1e-4 of what has been learned is closed. Projecting only what is trained with leaves .02.
    assert fmean(shares) < 0.003


@pytest.mark.long
def test_several_batches_make_one_step(request_: Request) -> None:
    asked = with_settings(request_, gradient_accumulation_steps=2, warmup_steps=0)
    losses: list[float] = []

    def look(event: Event) -> None:
        if isinstance(event, TrainStep):
            losses.append(event.loss)

    straight = add_concept(replace(asked, project=request_.project / "straight"), look)
    assert len(losses) == 6
    assert stopped_twice(replace(asked, project=request_.project / "stopped")) == straight.content_hash
    # The first step's loss is the mean of what its two batches cost, by the model before.
    alone: list[float] = []

    def first(event: Event) -> None:
        if isinstance(event, TrainStep):
            alone.append(event.loss)

    frozen = with_settings(request_, warmup_steps=0, learning_rate=1e-12)
    add_concept(replace(frozen, project=request_.project / "frozen"), first)
    assert losses[0] == pytest.approx((alone[0] + alone[1]) / 2, rel=1e-4)


def test_epochs_count_steps_of_several_batches(request_: Request) -> None:
    plan = make_plan(with_settings(request_, epochs=3))
    several = make_plan(with_settings(request_, epochs=3, gradient_accumulation_steps=2))
    assert plan.settings.schedule.steps == 3 * plan.epoch
    assert several.epoch == -(-plan.epoch // 2)
    assert several.settings.schedule.steps == 3 * several.epoch


@pytest.mark.long
def test_text_encoders_and_up_parts_learn_at_rates_of_their_own(request_: Request) -> None:
    """A rate of next to nothing leaves the text encoder where it was."""

    def moved(name: str, **settings: Any) -> tuple[float, float]:
        asked = with_settings(
            replace(request_, project=request_.project / name), strategy="merge", **settings
        )
        add_concept(with_settings(asked, text_encoder=True))
        context = project_context(Project.open(request_.project / name), None, ())
        evolving = context.evolving()
        targets = context.family.targets(context.header, "attention", text_encoders=True)
        sizes = {True: 0.0, False: 0.0}
        for target in targets:
            sizes[target.component == "unet"] += float(evolving.layer(target, "").earlier.norm())
        return sizes[True], sizes[False]

    unet, text = moved("alike")
    slow_unet, slow_text = moved("slow", text_encoder_lr=1e-9)
    fast_unet, _ = moved("fast", loraplus_unet_ratio=8.0)
    assert slow_text < 1e-3 * text
    assert slow_unet == pytest.approx(unet, rel=0.2)
    assert fast_unet > 2 * unet
