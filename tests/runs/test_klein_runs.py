"""Flux.2 klein from its files to a taught model and back: teaching, folding, undo, export, LoRA files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline
from safetensors.torch import load_file
from small_runs import FLOW, another, pictures, snapshot, stop_at
from tiny_flow import RESOLUTION, FlowFiles

from clora_ext import (
    GenerateRequest,
    Lora,
    Pictures,
    Project,
    Request,
    add_concept,
    estimate,
    export_checkpoint,
    export_lora,
    export_to,
    generate,
    make_plan,
)
from clora_ext.config.precision import pick_precision
from clora_ext.errors import Cancelled, UsageError
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.runs.context import project_context


@pytest.fixture
def asked(asked_klein: Request) -> Request:
    return asked_klein


def test_a_concept_changes_what_is_taught_and_nothing_else(asked: Request, klein_files: FlowFiles) -> None:
    plan = make_plan(asked)
    told, done = estimate(plan), add_concept(asked)
    assert told.memory is not None
    before, after = load_file(klein_files.transformer), load_file(done.checkpoint)
    assert set(after) == {FLOW_PREFIX + name for name in before}
    changed = {n for n, tensor in before.items() if not torch.equal(tensor, after[FLOW_PREFIX + n])}
    assert changed == {target.tensor.removeprefix(FLOW_PREFIX) for target in plan.targets}
    assert {name.rpartition(".")[0].partition(".")[2].partition(".")[2] for name in changed} == {
        "img_attn.qkv", "img_attn.proj", "img_mlp.0", "img_mlp.2",
        "txt_attn.qkv", "txt_attn.proj", "txt_mlp.0", "txt_mlp.2",
        "linear1", "linear2",
    }  # fmt: skip


def test_two_concepts_by_mask_are_exported_read_back_and_undone(
    asked: Request, klein_files: FlowFiles, tmp_path: Path
) -> None:
    first = replace(asked, settings=FLOW.with_values(strategy="mask"))
    one = add_concept(first)
    state = snapshot(asked.project)
    two = add_concept(another(first, "cat_images"))
    assert two.content_hash != one.content_hash
    alone = export_checkpoint(asked.project, tmp_path / "alone.safetensors")
    assert set(load_file(alone.path)) == set(load_file(klein_files.transformer))
    whole = export_checkpoint(asked.project, tmp_path / "whole.safetensors", all_in_one=True)
    assert {name.split(".")[0] for name in load_file(whole.path)} == {"model", "text_encoders", "vae"}
    draw = GenerateRequest("sks dog", count=1, steps=2, size=16)
    ours = generate(asked.project, draw, tmp_path)
    beside = {"text_encoder": klein_files.text_encoder, "vae": klein_files.vae}
    for file, companions in ((alone.path, beside), (whole.path, {})):
        drawn = generate(file, draw, tmp_path, companions=companions)
        assert drawn[0].read_bytes() == ours[0].read_bytes()
    (tmp_path / "comfyui" / "models" / "checkpoints").mkdir(parents=True)
    placed = export_to(asked.project, "comfyui", tmp_path / "comfyui")
    assert placed.path.parent == tmp_path / "comfyui" / "models" / "diffusion_models"
    with Project.writing(asked.project) as project:
        project.undo()
    kept = {name: content for name, content in snapshot(asked.project).items() if name != "manifest.json"}
    assert {name: state.get(name) for name in kept} == kept


def test_a_stopped_run_goes_on_bit_for_bit(asked: Request) -> None:
    straight = add_concept(replace(asked, project=asked.project.parent / "uninterrupted"))
    with pytest.raises(Cancelled):
        add_concept(asked, stop_at(3))
    assert make_plan(asked).resume_step == 3
    assert add_concept(asked).checkpoint.read_bytes() == straight.checkpoint.read_bytes()


def test_thirty_steps_lower_the_loss_by_a_third(asked: Request) -> None:
    """At eight noises and times that stay, on what is taught; the model is the one that is written."""
    images = Pictures(pictures(asked.project.parent / "eight", count=8))
    settings = FLOW.with_values(steps=30, learning_rate=0.02, rank=16, batch_size=8, warmup_steps=0)
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


def test_a_folder_of_diffusers_draws_the_same_and_is_a_base(asked: Request, tmp_path: Path) -> None:
    done = add_concept(asked)
    folder = export_to(asked.project, "diffusers", tmp_path / "folder", "fp32").path
    pipeline = Flux2KleinPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt="sks dog", height=16, width=16, num_inference_steps=3, guidance_scale=4.0,
        generator=torch.Generator().manual_seed(0),
    ).images[0]  # fmt: skip
    context = project_context(Project.open(asked.project), None)
    model = context.family.load(context.open_current(), pick_precision())
    ours = model.sample(
        "sks dog", negative="", seeds=[0], steps=3, guidance=4.0, size=16, on_step=lambda d, t: None
    )
    assert max(abs(a - b) for a, b in zip(ours[0].tobytes(), theirs.tobytes(), strict=True)) <= 3
    plan = make_plan(replace(asked, base=folder, project=tmp_path / "again"))
    assert plan.context.family.name == "flux2_klein_4b"
    again = plan.context.open_current()
    taught = load_file(done.checkpoint)
    for name, tensor in taught.items():
        assert torch.equal(again.read(name).to(tensor.dtype), tensor)  # the folder has them unrounded


def test_what_was_learned_is_one_lora_that_another_project_takes(asked: Request, tmp_path: Path) -> None:
    done = add_concept(asked)
    file = tmp_path / "learned.safetensors"
    exported = export_lora(asked.project, file, rank=32)
    assert (exported.layers, exported.left_out) == (2 * 12 + 2 * 2, ())
    assert exported.captured > 0.999
    assert all(name.startswith("transformer.") for name in load_file(file))
    again = add_concept(replace(asked, source=Lora(file), project=tmp_path / "other", settings=FLOW))
    before, after = load_file(done.checkpoint), load_file(again.checkpoint)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name].float(), tensor.float(), atol=2e-2, rtol=2e-2)


def test_web_interfaces_of_diffusion_are_refused(asked: Request, tmp_path: Path) -> None:
    add_concept(asked)
    for part in ("webui.py", "models/Stable-diffusion/x"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    with pytest.raises(UsageError, match=r"Automatic1111 cannot load Flux\.2 klein"):
        export_to(asked.project, "a1111", tmp_path)
