"""A model in parts, from its files to a taught one: where they lie, all of it in one file, another VAE.

Nothing of that asks which family it is: it is asked of the smallest.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from flow_families import Z_IMAGE, family_id
from safetensors.torch import load_file
from small_runs import FLOW, Taught, another, snapshot
from tiny_flow import FlowFiles, write_everything, write_tiny_flow

from clora_ext import GenerateRequest, Pictures, Project, Request, add_concept, generate, make_plan
from clora_ext.errors import BaseChanged, CheckpointError, SettingsError, UsageError
from clora_ext.events import TrainStep
from clora_ext.project import relocate

pytestmark = pytest.mark.parametrize("family", [Z_IMAGE], indirect=True, ids=family_id)


@pytest.mark.long
def test_a_project_knows_its_companions_and_keeps_to_them(
    asked: Request, stored: FlowFiles, tmp_path: Path
) -> None:
    own = write_tiny_flow(tmp_path / "own")
    add_concept(replace(asked, base=own.transformer))
    project = Project.open(asked.project)
    assert project.base is not None
    assert set(project.base.parts) == {"transformer", "text_encoder", "vae"}
    other = write_tiny_flow(tmp_path / "other", seed=5)
    shutil.copy(other.vae, own.vae)
    more = another(asked, "cat_images")
    with pytest.raises(BaseChanged, match="is not the vae"):
        make_plan(more)
    own.vae.unlink()
    with pytest.raises(CheckpointError, match=r"VAE of Flux 1 .* is gone"):
        generate(asked.project, GenerateRequest("dog", count=1, steps=1))
    found = make_plan(replace(more, vae_file=stored.vae))
    assert found.context.as_dict()["companions"]["vae"] == str(stored.vae)
    assert add_concept(replace(more, vae_file=stored.vae)).number == 2
    third = make_plan(another(asked, "third")).context.base
    assert third.companions["vae"] == stored.vae
    own.text_encoder.rename(tmp_path / "elsewhere.safetensors")
    draw = GenerateRequest("dog", count=1, steps=1, size=16)
    moved = {"text_encoder": tmp_path / "elsewhere.safetensors"}
    with pytest.raises(CheckpointError, match=r"Qwen3-4B text encoder .* is gone"):
        generate(asked.project, draw)
    assert len(generate(asked.project, draw, companions=moved)) == 1
    with pytest.raises(BaseChanged, match="text encoder"):
        generate(asked.project, draw, companions={"text_encoder": other.text_encoder})
    relocate(asked.project, own.transformer, moved)
    assert len(generate(asked.project, draw)) == 1


@pytest.mark.long
def test_two_concepts_by_distillation_are_undone(asked: Request) -> None:
    first = replace(asked, settings=FLOW.with_values(strategy="distill"))
    one = add_concept(first)
    state = snapshot(asked.project)
    two = add_concept(another(first, "cat_images"))
    assert (one.number, two.number) == (1, 2)
    assert two.content_hash != one.content_hash
    with Project.writing(asked.project) as project:
        project.undo()
    assert Project.open(asked.project).current.content_hash == one.content_hash  # type: ignore[union-attr]
    kept = {name: content for name, content in snapshot(asked.project).items() if name != "manifest.json"}
    assert {name: state.get(name) for name in kept} == kept


@pytest.mark.long
def test_everything_in_one_file_is_a_base_too(taught: Taught, tmp_path: Path) -> None:
    whole = write_everything(tmp_path / "all.safetensors")
    done = add_concept(replace(taught.asked, base=whole, project=tmp_path / "model"))
    found = load_file(done.checkpoint)
    assert set(found) == set(load_file(whole))
    learned = load_file(taught.done.checkpoint)
    assert all(torch.equal(found[name], tensor) for name, tensor in learned.items())


def test_pictures_are_encoded_by_another_vae(asked: Request, taught: Taught, tmp_path: Path) -> None:
    other = write_tiny_flow(tmp_path / "other", seed=5)
    assert isinstance(asked.source, Pictures)
    done = add_concept(replace(asked, source=replace(asked.source, vae=other.vae)))
    assert done.content_hash != taught.done.content_hash
    with pytest.raises(CheckpointError, match="VAE"):
        make_plan(replace(asked, source=replace(asked.source, vae=other.transformer)))


def test_what_such_a_model_does_not_do_is_said_before(asked: Request) -> None:
    cases = [
        ({"text_encoder": True}, UsageError, "language model"),
        ({"conv_rank": 4}, UsageError, "convolutions"),
        ({"min_snr_gamma": 5.0}, SettingsError, "predicts a flow"),
    ]

    def check(case: tuple[dict[str, Any], type[Exception], str]) -> None:
        values, error, words = case
        with pytest.raises(error, match=words):
            make_plan(replace(asked, settings=FLOW.with_values(**values)))

    check_each(cases, check)
    with pytest.raises(CheckpointError, match="predicts a flow"):
        make_plan(replace(asked, prediction="v"))


def test_captions_of_different_length_share_a_step(asked: Request) -> None:
    assert isinstance(asked.source, Pictures)
    for number, words in enumerate(
        ("sks dog", "sks dog on a very long beach in the evening sun", "a sks dog")
    ):
        (asked.source.folder / f"{number}.txt").write_text(words, encoding="utf-8")
    seen: list[float] = []
    square = replace(asked, settings=FLOW.with_values(steps=6, batch_size=3))
    add_concept(square, lambda event: seen.append(event.loss) if isinstance(event, TrainStep) else None)
    assert len(seen) == 6
