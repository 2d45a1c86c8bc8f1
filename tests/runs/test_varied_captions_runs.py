"""Captions that vary in a run: in every step anew, the same after a resume, and seen by the text encoder."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import folder_of, stop_at, with_settings

from clora_ext import Request, add_concept, make_plan
from clora_ext.errors import Cancelled, DatasetError
from clora_ext.families.latent.model import LatentDiffusion
from clora_ext.runs.step_captions import step_captions

RULES = {"shuffle_caption": True, "keep_tokens": 1, "caption_dropout": 0.2, "tag_dropout": 0.1}


@pytest.fixture
def captioned(request_: Request) -> Request:
    """Every picture has tags."""
    for number, image in enumerate(sorted(folder_of(request_).glob("*.png"))):
        image.with_suffix(".txt").write_text(
            f"sks dog, red {number}, sitting, outdoors, {{big|small}}\nsks dog, x"
        )
    return with_settings(request_, **RULES)


@pytest.mark.long
def test_a_run_that_is_stopped_twice_sees_the_same_captions(captioned: Request, tmp_path: Path) -> None:
    straight = add_concept(captioned)
    stopped = replace(captioned, project=tmp_path / "stopped" / "model")
    stopped.project.parent.mkdir()
    for step in (2, 4):
        with pytest.raises(Cancelled):
            add_concept(stopped, stop_at(step))
    assert add_concept(stopped).content_hash == straight.content_hash
    plain = replace(with_settings(captioned, shuffle_caption=False), project=tmp_path / "plain")
    assert add_concept(plain).content_hash != straight.content_hash


@pytest.mark.long
def test_captions_are_a_function_of_seed_step_and_picture(captioned: Request) -> None:
    """200 captions in three epochs: asked again, in any order, they are the same."""
    folder = folder_of(captioned)
    first = next(folder.glob("*.png"))
    for number in range(200):
        shutil.copy(first, folder / f"more-{number}.png")
        data = bytearray(first.read_bytes())
        data[-8:] = data[-8:]  # of one content they would be one picture
        (folder / f"more-{number}.png").write_bytes(bytes(data) + number.to_bytes(2, "big"))
        (folder / f"more-{number}.txt").write_text(f"sks dog, tag {number}, a, b, c, d")
    found = []
    for _ in range(2):
        captions = step_captions(make_plan(captioned), str.split)
        assert captions is not None
        found.append([captions(index, step) for step in range(600) for index in (step % 200,)])
    backwards = step_captions(make_plan(captioned), str.split)
    assert backwards is not None
    assert found[0] == found[1] == [backwards(step % 200, step) for step in reversed(range(600))][::-1]
    assert len(set(found[0])) > 300
    assert 80 < found[0].count("") < 160
    assert all(one.startswith("sks dog") for one in found[0] if one)
    other = step_captions(make_plan(with_settings(captioned, seed=9)), str.split)
    assert other is not None
    assert [other(step % 200, step) for step in range(600)] != found[0]


@pytest.mark.long
def test_the_text_encoder_reads_what_the_rules_make(
    captioned: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = LatentDiffusion.condition

    def condition(self: LatentDiffusion, prompts: Sequence[str], sizes: Any) -> Any:
        read.extend(prompts)
        return real(self, prompts, sizes)

    monkeypatch.setattr(LatentDiffusion, "condition", condition)
    rules = {"wildcards": True, "caption_prefix": "P,", "shuffle_caption": True, "keep_tokens": 2}
    add_concept(with_settings(captioned, **rules, caption_dropout=0.0, tag_dropout=0.0, steps=12))
    trained = [prompt for prompt in read if prompt.startswith("P, sks dog, ")]
    assert {prompt for prompt in trained if "big" in prompt}
    assert {prompt for prompt in trained if "small" in prompt}
    assert "P, sks dog, x" in trained
    assert len(set(trained)) > 8
    assert not [prompt for prompt in read if "{" in prompt or "\n" in prompt]


def test_captions_of_one_word_stay_out_of_the_cache_of_prompts(captioned: Request) -> None:
    """What people and memories see is the plain caption: no marks, nothing left out."""
    plan = make_plan(with_settings(captioned, wildcards=True, caption_dropout=1.0))
    assert plan.dataset.pictures[0].caption == "sks dog, red 0, sitting, outdoors, big"
    assert "{big|small}" in plan.dataset.pictures[0].written


def test_an_empty_file_is_no_caption_by_any_rule(captioned: Request) -> None:
    next(folder_of(captioned).glob("*.txt")).write_text("\n \n")
    with pytest.raises(DatasetError, match="empty"):
        make_plan(with_settings(captioned, wildcards=True))
