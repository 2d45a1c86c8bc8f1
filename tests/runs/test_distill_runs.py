"""Runs by the strategy that holds on to what the model answered before."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from learned import Learned
from small_runs import SETTINGS, another, memory_of, stop_at, with_settings

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.errors import Cancelled
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.header import read_header
from clora_ext.formats.memory import PROMPTS_KEY, strategy_bytes
from clora_ext.runs.step_captions import step_captions


def distilled(request: Request, **options: object) -> Request:
    return with_settings(request, strategy="distill", strategy_options=options)


@pytest.mark.long
def test_a_strength_of_nothing_is_merge_bit_for_bit(request_: Request) -> None:
    folder = request_.project
    merged = add_concept(with_settings(replace(request_, project=folder / "merge"), strategy="merge"))
    loose = add_concept(distilled(replace(request_, project=folder / "loose"), strength=0))
    held = add_concept(distilled(replace(request_, project=folder / "held")))
    assert loose.content_hash == merged.content_hash
    assert loose.first_loss == merged.first_loss
    assert held.content_hash != merged.content_hash


def test_a_resumed_run_is_the_same_bit_for_bit(request_: Request) -> None:
    """With two concepts, the second of which is held against the first."""
    first = replace(distilled(request_), project=request_.project.parent / "straight")
    add_concept(first)
    second = another(first, "cat_images")
    straight = add_concept(second)
    add_concept(distilled(request_))
    resumed_request = replace(second, project=request_.project)
    for step in (2, 5):
        with pytest.raises(Cancelled):
            add_concept(resumed_request, stop_at(step))
    resumed = add_concept(resumed_request)
    assert resumed.content_hash == straight.content_hash
    assert memory_of(request_.project).read_bytes() == memory_of(first.project).read_bytes()


@pytest.mark.long
def test_the_triggers_own_row_is_part_of_the_model_and_no_other_row_is(
    request_: Request, learned: Learned
) -> None:
    result = learned(distilled(request_))
    base, taught = Checkpoint(request_.base), Checkpoint(result.checkpoint)
    (name,) = [name for name in base.names if name.endswith("token_embedding.weight")]
    changed = (base.read_float(name) != taught.read_float(name)).any(dim=1).nonzero().flatten().tolist()
    assert len(changed) == 1
    fixed = add_concept(distilled(replace(request_, project=request_.project / "fixed"), token_rate=0))
    assert torch.equal(base.read_float(name), Checkpoint(fixed.checkpoint).read_float(name))
    project = Project.open(request_.project)
    assert project.concepts[0].state_level == "L1"


def test_half_of_the_captions_are_said_in_other_words(request_: Request) -> None:
    captions = step_captions(make_plan(distilled(request_)), str.split)
    assert captions is not None
    said = Counter(captions(0, step) for step in range(400))
    assert 200 < said["a photo of sks dog"] < 320  # half of them, and one rephrasing in four is the caption
    assert said.keys() == {"a photo of sks dog", "a picture of sks dog", "an image of sks dog", "sks dog"}
    assert step_captions(make_plan(distilled(request_, rephrased=0)), str.split) is None
    assert step_captions(make_plan(distilled(request_, strength=0)), str.split) is None


def test_an_average_of_the_steps_is_learned_unless_somebody_says_otherwise(request_: Request) -> None:
    def decay(request: Request, **settings: object) -> float | None:
        return make_plan(with_settings(request, **settings)).ema_decay

    asked = distilled(request_)
    assert decay(asked) == 0.98
    assert decay(asked, ema_decay=0.0) == 0.0
    assert decay(asked, ema_decay=0.9) == 0.9
    assert decay(asked, optimizer_type="AdamWScheduleFree") is None
    assert decay(distilled(request_, strength=0)) is None
    assert decay(request_, strategy="distill_gram") == 0.98
    assert decay(request_, strategy="merge") is None


@pytest.mark.long
def test_the_average_is_what_is_folded(request_: Request) -> None:
    averaged = add_concept(distilled(replace(request_, project=request_.project / "averaged")))
    last = with_settings(distilled(replace(request_, project=request_.project / "last")), ema_decay=0.0)
    taught = add_concept(last)
    assert taught.first_loss == averaged.first_loss
    assert taught.content_hash != averaged.content_hash


@pytest.mark.long
def test_undo_takes_the_row_back(request_: Request, learned: Learned) -> None:
    first = learned(distilled(request_))
    before = first.checkpoint.read_bytes()
    add_concept(distilled(another(request_, "cat_images")))
    with Project.writing(request_.project) as project:
        project.undo()
        assert project.checkpoint_path is not None
        assert project.checkpoint_path.read_bytes() == before


@pytest.mark.long
def test_what_is_kept_of_past_concepts_is_words_alone(request_: Request, learned: Learned) -> None:
    """Token, class and at most eight captions a concept; their bytes are the state that is counted."""
    learned(distilled(request_), distilled(another(request_, "cat_images")))
    header = read_header(memory_of(request_.project))
    kept = header.metadata[PROMPTS_KEY]
    assert '"sks"' in kept
    assert "a photo of sks dog" in kept
    assert Project.open(request_.project).disk_usage().strategy == strategy_bytes(header) == len(kept)
    assert not [name for name in header.tensors if "::" in name and not name.endswith("::residual")
                and not name.endswith("::weight")]  # fmt: skip


@pytest.mark.long
def test_any_strategy_may_follow_any_other(request_: Request) -> None:
    for number, strategy in enumerate(("distill", "mask", "distill", "naive", "distill", "orthogonal")):
        asked = request_ if number == 0 else another(request_, f"x{number}_images", seed=number)
        add_concept(with_settings(asked, strategy=strategy, steps=2, warmup_steps=0, sheet="none"))
    assert Project.open(request_.project).number == 6
    assert SETTINGS.strategy == "mask"


@pytest.mark.long
def test_a_run_that_asks_its_own_pictures_again_is_resumed_bit_for_bit(request_: Request) -> None:
    asked = distilled(request_, own_pictures=1, token_rate=0)  # the text encoders stay for it all the same
    straight = add_concept(replace(asked, project=request_.project.parent / "straight"))
    with pytest.raises(Cancelled):
        add_concept(asked, stop_at(3))
    assert add_concept(asked).content_hash == straight.content_hash
    other = add_concept(replace(distilled(request_, token_rate=0), project=request_.project.parent / "other"))
    assert other.content_hash != straight.content_hash
