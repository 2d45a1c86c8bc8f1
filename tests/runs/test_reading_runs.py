"""Texts that are read in parts or at another layer: in training, samples, later concepts, exports."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learned import Learned
from PIL import Image
from small_runs import another, by_strategy, folder_of, stop_at, with_settings, with_source

from clora_ext import Lora, Project, Request, add_concept, make_plan
from clora_ext.config.settings import PromptSettings
from clora_ext.errors import Cancelled, SettingsError, UsageError
from clora_ext.export import export_checkpoint, export_lora
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.runs.suggested import suggested_settings
from clora_ext.sampling.generate import GenerateRequest, generate

# The tiny model reads 18 tokens at once.
LONG = "a photo of sks dog on a red background, on a blue background, on a white background, on a black one"


def with_caption(request: Request, caption: str) -> Request:
    """Every picture has this caption."""
    for image in folder_of(request).glob("*.png"):
        image.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return request


def in_new_project(request: Request, folder: Path, **values: Any) -> Request:
    """The same pictures for another project, taught otherwise."""
    return replace(with_settings(request, **values), project=folder / "-".join(map(str, values.values())))


def pixels(file: Path) -> np.ndarray[Any, Any]:
    """Of a picture."""
    with Image.open(file) as image:
        return np.asarray(image)


@pytest.mark.long
def test_the_layer_that_is_read_shapes_the_model(request_: Request, tmp_path: Path, learned: Learned) -> None:
    usual = learned(request_)
    skipped = in_new_project(request_, tmp_path, clip_skip=2)
    assert add_concept(skipped).content_hash != usual.content_hash


@pytest.mark.long
def test_what_stands_beyond_75_tokens_is_read_when_asked(request_: Request, tmp_path: Path) -> None:
    other_end = f"{LONG}, on a green background"
    short = add_concept(with_caption(request_, LONG)).content_hash
    same = add_concept(with_caption(replace(request_, project=tmp_path / "end"), other_end)).content_hash
    assert same == short, "the end is not read"
    assert any(
        "is too long" in note for note in make_plan(replace(request_, project=tmp_path / "x")).text_notes
    )
    whole = in_new_project(request_, tmp_path, max_token_length=225)
    assert make_plan(with_caption(whole, LONG)).text_notes == ()
    long = add_concept(whole).content_hash
    changed = add_concept(with_caption(replace(whole, project=tmp_path / "changed"), other_end)).content_hash
    assert len({short, long, changed}) == 3


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["mask", "distill", "gram"])
def test_a_run_with_long_captions_is_resumed_bit_for_bit(
    request_: Request, tmp_path: Path, strategy: str
) -> None:
    """Under strategies that ask the text encoders themselves, too."""
    values = {"max_token_length": 150, "clip_skip": 2, **by_strategy(strategy)}
    straight = in_new_project(with_caption(request_, LONG), tmp_path, **values)
    stopped = replace(straight, project=tmp_path / "stopped")
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(3))
    assert add_concept(stopped).content_hash == add_concept(straight).content_hash


def test_the_next_concept_is_read_as_the_one_before(request_: Request) -> None:
    first = with_settings(request_, clip_skip=2, max_token_length=150)
    add_concept(first)
    wished = {"clip_skip": 2, "max_token_length": 150}
    assert asdict(suggested_settings(request_.project).prompts) == wished
    second = replace(another(request_, "more"), settings=None)
    assert asdict(make_plan(second).settings.prompts) == wished
    assert make_plan(second).text_notes == ()
    otherwise = make_plan(with_settings(another(request_, "others"), clip_skip=1, max_token_length=75))
    assert "those of the concept before with clip-skip 2 and max-token-length 150" in otherwise.text_notes[0]


@pytest.mark.long
def test_a_concept_is_drawn_as_it_was_taught(request_: Request, tmp_path: Path) -> None:
    add_concept(with_settings(request_, clip_skip=2))
    drawn = {
        name: generate(
            request_.project, GenerateRequest("a sks dog", count=1, steps=2, **values), tmp_path / name
        )
        for name, values in {"taught": {}, "said": {"clip_skip": 2}, "other": {"clip_skip": 1}}.items()
    }
    taught, said, other = (pixels(files[0]) for files in drawn.values())
    assert (taught == said).all()
    assert (taught != other).any()
    sheet = Project.open(request_.project).concepts[-1]
    assert sheet.setting("clip_skip") == 2


def test_no_prompt_is_read_in_a_way_that_there_is_not(
    request_: Request, tmp_path: Path, learned: Learned
) -> None:
    learned(request_)
    with pytest.raises(SettingsError, match="max-token-length"):
        generate(request_.project, GenerateRequest("a dog", max_token_length=100), tmp_path)
    with pytest.raises(UsageError, match="clip-skip 20 leaves nothing"):
        generate(request_.project, GenerateRequest("a dog", clip_skip=20), tmp_path)
    with pytest.raises(UsageError, match="clip-skip 20 leaves nothing"):
        make_plan(in_new_project(request_, tmp_path, clip_skip=20))


@pytest.mark.long
def test_files_say_how_to_read_their_prompts(request_: Request, tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    wished = with_source(with_settings(request_, clip_skip=2, max_token_length=225), export_lora=kept)
    add_concept(wished)
    lora = tmp_path / "lora.safetensors"
    export_lora(request_.project, lora)
    for file in (kept, lora):
        metadata = Checkpoint(file).header.metadata
        assert (metadata["ss_clip_skip"], metadata["ss_max_token_length"]) == ("2", "225")
    model = tmp_path / "model.safetensors"
    export_checkpoint(request_.project, model)
    assert Checkpoint(model).header.metadata["modelspec.usage_hint"].endswith("with clip skip 2")


@pytest.mark.long
def test_a_lora_is_sampled_as_the_model_is_read(request_: Request, tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    add_concept(with_source(with_settings(request_, clip_skip=2), export_lora=kept))
    folded = Request(source=Lora(kept), project=request_.project, token="uwu")
    add_concept(folded)
    opened = Project.open(request_.project)
    assert opened.concepts[-1].settings["prompts"] == asdict(PromptSettings(clip_skip=2))
    assert suggested_settings(request_.project).prompts.clip_skip == 2
    json.dumps(opened.concepts[-1].settings)
