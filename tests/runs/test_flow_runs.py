"""Models of flow matching from their files to a taught model and back: teaching, undo, export, LoRA files."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flow_families import ANIMA, KLEIN, KREA_2, Z_IMAGE, family_id
from flow_family import FlowFamily
from safetensors.torch import load_file
from small_runs import FLOW, Taught, another, pictures, snapshot, stop_at
from tiny_flow import RESOLUTION, FlowFiles
from tiny_flow_kinds import KINDS

from clora_ext import (
    GenerateRequest,
    Lora,
    Pictures,
    Project,
    Request,
    add_concept,
    export_checkpoint,
    export_lora,
    export_to,
    families,
    generate,
    make_plan,
)
from clora_ext.config.precision import pick_precision
from clora_ext.errors import Cancelled, UsageError
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.formats.header import read_header
from clora_ext.runs.context import project_context

the_last_slowly = pytest.mark.parametrize(
    "family",
    [Z_IMAGE, KLEIN, *(pytest.param(one, marks=pytest.mark.slow) for one in (ANIMA, KREA_2))],
    indirect=True,
    ids=family_id,
)


@pytest.mark.long
def test_a_concept_changes_what_is_taught_and_nothing_else(
    family: FlowFamily, taught: Taught, stored: FlowFiles
) -> None:
    assert taught.plan.context.as_dict()["companions"] == {
        "text_encoder": str(stored.text_encoder),
        "vae": str(stored.vae),
    }
    before, after = load_file(stored.transformer), load_file(taught.done.checkpoint)
    assert set(after) == {FLOW_PREFIX + name for name in before}
    changed = {n for n, tensor in before.items() if not torch.equal(tensor, after[FLOW_PREFIX + n])}
    assert changed == {target.tensor.removeprefix(FLOW_PREFIX) for target in taught.plan.targets}
    assert {re.sub(r"^\w+\.\d+\.|\.weight$", "", name) for name in changed} == family.taught


def test_the_disk_is_asked_for_what_is_written(taught: Taught) -> None:
    told, folder = taught.told, Project.open(taught.asked.project).disk_usage()
    assert told.memory is not None
    assert 0 < told.disk.checkpoint - taught.done.checkpoint.stat().st_size < 1_100_000  # room for headers
    assert 0 < told.disk.memory - folder.memory < 1_100_000


@pytest.mark.long
@the_last_slowly
def test_a_stopped_run_goes_on_bit_for_bit(asked: Request, taught: Taught) -> None:
    """And pictures in another folder, taught in another project, give the same."""
    with pytest.raises(Cancelled):
        add_concept(asked, stop_at(3))
    assert make_plan(asked).resume_step == 3
    done = add_concept(asked)
    assert done.checkpoint.read_bytes() == taught.done.checkpoint.read_bytes()
    assert done.content_hash == taught.done.content_hash


def test_concepts_follow_one_another_and_are_undone(taught: Taught, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(taught.asked.project, tmp_path / "model"))
    state = snapshot(folder)
    two = add_concept(another(replace(taught.asked, project=folder), "cat_images"))
    assert (taught.done.number, two.number) == (1, 2)
    assert two.content_hash != taught.done.content_hash
    with Project.writing(folder) as project:
        project.undo()
    assert Project.open(folder).current.content_hash == taught.done.content_hash  # type: ignore[union-attr]
    kept = {name: content for name, content in snapshot(folder).items() if name != "manifest.json"}
    assert {name: state.get(name) for name in kept} == kept


@pytest.mark.long
@the_last_slowly
def test_two_dozen_steps_lower_the_loss_by_a_third(asked: Request) -> None:
    """At eight noises and times that stay, on what is taught; the model is the one that is written."""
    images = Pictures(pictures(asked.project.parent / "two", count=2))
    settings = FLOW.with_values(steps=24, learning_rate=0.03, rank=16, warmup_steps=0)
    request = replace(asked, source=images, settings=settings)
    before = errors(make_plan(request).context, request)
    add_concept(request)
    after = errors(project_context(Project.open(asked.project), None), request)
    assert after < 0.7 * before, (before, after)


@torch.no_grad()
def errors(context: Any, request: Request) -> float:
    """The mean error of eight predictions for the first picture."""
    from PIL import Image

    model = context.family.load(context.open_current(), pick_precision())
    assert isinstance(request.source, Pictures)
    image = Image.open(request.source.folder / "0.png").resize((RESOLUTION, RESOLUTION))
    pixels = torch.tensor(list(image.tobytes()), dtype=torch.float32).reshape(RESOLUTION, RESOLUTION, 3)
    mean, _ = model.encode_images(pixels.permute(2, 0, 1)[None] / 127.5 - 1)
    rng = torch.Generator().manual_seed(9)
    noise = torch.randn(8, *mean.shape[1:], generator=rng)
    times = torch.linspace(0.1, 0.9, 8)
    latents = mean.expand(8, -1, -1, -1)
    condition = model.collate([model.condition(["sks dog"], [])] * 8)
    found = model.predict(model.process.noised(latents, noise, times), times, condition)
    return float((found - model.process.target(latents, noise, times)).square().mean())


@pytest.mark.long
def test_an_export_is_what_comfyui_keeps(
    family: FlowFamily, taught: Taught, stored: FlowFiles, tmp_path: Path
) -> None:
    project, before = taught.asked.project, snapshot(taught.asked.project)
    alone = export_checkpoint(project, tmp_path / "alone.safetensors")
    learned, exported = load_file(taught.done.checkpoint), load_file(alone.path)
    assert set(exported) == set(load_file(stored.transformer))
    assert all(torch.equal(tensor, learned[FLOW_PREFIX + name]) for name, tensor in exported.items())
    (tmp_path / "comfyui" / "models" / "checkpoints").mkdir(parents=True)
    placed = export_to(project, "comfyui", tmp_path / "comfyui")
    assert placed.path.parent == tmp_path / "comfyui" / "models" / "diffusion_models"
    assert "Load Diffusion Model" in placed.next_step
    whole = export_checkpoint(project, tmp_path / "whole.safetensors", all_in_one=True)
    everything = load_file(whole.path)
    written = families.load(family.name).written_prefixes
    text_prefix, vae_prefix = KINDS[family.name].text[1], "vae."
    for here, there in written.items():
        text_prefix, vae_prefix = (one.replace(here, there) for one in (text_prefix, vae_prefix))
    assert {name.split(".")[0] for name in everything} == {
        one.split(".")[0] for one in (FLOW_PREFIX, text_prefix, vae_prefix)
    }
    text = load_file(stored.text_encoder)
    usual = {
        name: name.replace("language_model.", "", 1).replace("model.visual.", "visual.", 1) for name in text
    }
    assert all(torch.equal(tensor, everything[text_prefix + usual[name]]) for name, tensor in text.items())
    placed = export_to(project, "comfyui", tmp_path / "comfyui", all_in_one=True)
    assert placed.path.parent.name == "checkpoints"
    draw = GenerateRequest("sks dog", count=1, steps=2, size=16)
    ours = generate(project, draw, tmp_path)
    beside = {"text_encoder": stored.text_encoder, "vae": stored.vae}
    for file, companions in ((alone.path, beside), (whole.path, {})):
        drawn = generate(file, draw, tmp_path, companions=companions)
        assert drawn[0].read_bytes() == ours[0].read_bytes()
    assert snapshot(project) == before


@pytest.mark.long
def test_a_folder_of_diffusers_draws_the_same_and_is_a_base(
    family: FlowFamily, taught: Taught, tmp_path: Path
) -> None:
    folder = export_to(taught.asked.project, "diffusers", tmp_path / "folder", "fp32").path
    pipeline = family.own.pipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    negative = family.own.negative
    theirs = family.own.draw(pipeline, "sks dog", negative, 3, 0, (16, 16))
    context = project_context(Project.open(taught.asked.project), None)
    model = context.family.load(context.open_current(), pick_precision())
    ours = model.sample(
        "sks dog", negative=negative, seeds=[0], steps=3, guidance=4.0, size=16, on_step=lambda d, t: None
    )
    assert max(abs(a - b) for a, b in zip(ours[0].tobytes(), theirs.tobytes(), strict=True)) <= 3
    plan = make_plan(replace(taught.asked, base=folder, project=tmp_path / "again"))
    assert plan.context.family.name == family.name
    again = plan.context.open_current()
    for name, tensor in load_file(taught.done.checkpoint).items():
        assert torch.equal(again.read(name).to(tensor.dtype), tensor)  # the folder has them unrounded


@pytest.mark.long
def test_what_was_learned_is_one_lora_that_another_project_takes(
    family: FlowFamily, taught: Taught, tmp_path: Path
) -> None:
    file = tmp_path / "learned.safetensors"
    exported = export_lora(taught.asked.project, file, rank=32)
    assert (exported.layers, exported.left_out) == (family.tiny, ())
    assert exported.captured > 0.999
    tensors = load_file(file)
    assert all(name.startswith(family.loras.stem) for name in tensors)
    assert family.loras.known in tensors
    again = add_concept(replace(taught.asked, source=Lora(file), project=tmp_path / "other"))
    before, after = load_file(taught.done.checkpoint), load_file(again.checkpoint)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name].float(), tensor.float(), atol=2e-2, rtol=2e-2)


def test_web_interfaces_of_diffusion_are_refused(family: FlowFamily, taught: Taught, tmp_path: Path) -> None:
    for part in ("webui.py", "models/Stable-diffusion/x"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    title = re.escape(families.load(family.name).title)
    with pytest.raises(UsageError, match=f"Automatic1111 cannot load {title}"):
        export_to(taught.asked.project, "a1111", tmp_path)
    (tmp_path / "modules_forge").mkdir()
    with pytest.raises(UsageError, match=f"cannot load {title}") as caught:
        export_to(taught.asked.project, "forge", tmp_path)
    assert "Forge Neo" in (caught.value.fix or "")


def test_a_forge_that_knows_the_family_is_given_the_transformer(
    family: FlowFamily, taught: Taught, tmp_path: Path
) -> None:
    engines = tmp_path / "backend" / "diffusion_engine"
    engines.mkdir(parents=True)
    for part in ("webui.py", "models/Stable-diffusion/x", "modules_forge/x"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    for engine in ("anima", "flux2", "krea", "zimage"):  # as Forge Neo has them
        (engines / f"{engine}.py").touch()
    placed = export_to(taught.asked.project, "forge", tmp_path, name="mine")
    assert placed.path == tmp_path / "models" / "Stable-diffusion" / "mine.safetensors"
    assert "models/text_encoder" in placed.next_step
    alone = export_checkpoint(taught.asked.project, tmp_path / "alone.safetensors")
    assert read_header(placed.path).tensors.keys() == read_header(alone.path).tensors.keys()
    with pytest.raises(UsageError, match="from a file of its own"):
        export_to(taught.asked.project, "forge", tmp_path, name="all", all_in_one=True)
