"""Z-Image from its files to a taught model and back: teaching, folding, undo, export, LoRA files."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import ZImagePipeline
from safetensors.torch import load_file
from small_runs import FLOW, another, pictures, snapshot, stop_at
from tiny_flow import RESOLUTION, FlowFiles, write_everything, write_tiny_flow

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
from clora_ext.errors import BaseChanged, Cancelled, CheckpointError, SettingsError, UsageError
from clora_ext.events import TrainStep
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.project import relocate
from clora_ext.runs.context import project_context


def test_a_concept_changes_what_is_taught_and_nothing_else(asked: Request, stored: FlowFiles) -> None:
    plan = make_plan(asked)
    assert plan.context.as_dict()["companions"] == {
        "text_encoder": str(stored.text_encoder),
        "vae": str(stored.vae),
    }
    done = add_concept(asked)
    before, after = load_file(stored.transformer), load_file(done.checkpoint)
    assert set(after) == {FLOW_PREFIX + name for name in before}
    changed = {n for n, tensor in before.items() if not torch.equal(tensor, after[FLOW_PREFIX + n])}
    assert changed == {target.tensor.removeprefix(FLOW_PREFIX) for target in plan.targets}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in changed} == {
        "qkv",
        "out",
        "w1",
        "w2",
        "w3",
    }
    assert (
        done.content_hash == add_concept(replace(asked, project=asked.project.parent / "again")).content_hash
    )


def test_the_disk_is_asked_for_what_is_written(asked: Request) -> None:
    plan = make_plan(asked)
    told, done = estimate(plan), add_concept(asked)
    folder = Project.open(asked.project).disk_usage()
    assert told.memory is not None
    assert 0 < told.disk.checkpoint - done.checkpoint.stat().st_size < 1_100_000  # room for headers
    assert 0 < told.disk.memory - folder.memory < 1_100_000


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


@pytest.mark.parametrize("strategy", ["mask", "distill"])
def test_concepts_follow_one_another_and_are_undone(asked: Request, strategy: str) -> None:
    first = replace(asked, settings=FLOW.with_values(strategy=strategy))
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

    from clora_ext.config.precision import pick_precision

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


def test_an_export_is_what_comfyui_keeps(asked: Request, stored: FlowFiles, tmp_path: Path) -> None:
    done = add_concept(asked)
    alone = export_checkpoint(asked.project, tmp_path / "alone.safetensors")
    taught, exported = load_file(done.checkpoint), load_file(alone.path)
    assert set(exported) == set(load_file(stored.transformer))
    assert all(torch.equal(tensor, taught[FLOW_PREFIX + name]) for name, tensor in exported.items())
    (tmp_path / "comfyui" / "models" / "checkpoints").mkdir(parents=True)
    placed = export_to(asked.project, "comfyui", tmp_path / "comfyui")
    assert placed.path.parent == tmp_path / "comfyui" / "models" / "diffusion_models"
    assert "Load Diffusion Model" in placed.next_step
    whole = export_checkpoint(asked.project, tmp_path / "whole.safetensors", all_in_one=True)
    everything = load_file(whole.path)
    assert {name.split(".")[0] for name in everything} == {"model", "text_encoders", "vae"}
    text = load_file(stored.text_encoder)
    assert all(
        torch.equal(tensor, everything[f"text_encoders.qwen3_4b.transformer.{name}"])
        for name, tensor in text.items()
    )
    assert (
        export_to(asked.project, "comfyui", tmp_path / "comfyui", all_in_one=True).path.parent.name
        == "checkpoints"
    )
    beside = FlowFiles(alone.path, stored.text_encoder, stored.vae)
    for file, companions in (
        (alone.path, {"text_encoder": beside.text_encoder, "vae": beside.vae}),
        (whole.path, {}),
    ):
        drawn = generate(
            file, GenerateRequest("sks dog", count=1, steps=2, size=16), tmp_path, companions=companions
        )
        ours = generate(asked.project, GenerateRequest("sks dog", count=1, steps=2, size=16), tmp_path)
        assert drawn[0].read_bytes() == ours[0].read_bytes()


def test_web_interfaces_of_diffusion_are_refused(asked: Request, tmp_path: Path) -> None:
    add_concept(asked)
    for part in ("webui.py", "models/Stable-diffusion/x"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    with pytest.raises(UsageError, match="Automatic1111 cannot load Z-Image"):
        export_to(asked.project, "a1111", tmp_path)


def test_a_folder_of_diffusers_draws_the_same(asked: Request, tmp_path: Path) -> None:
    add_concept(asked)
    folder = export_to(asked.project, "diffusers", tmp_path / "folder", "fp32").path
    pipeline = ZImagePipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    steps = 3
    theirs = pipeline(
        "sks dog", height=16, width=16, num_inference_steps=steps, guidance_scale=3.0,
        sigmas=[1 - step / steps for step in range(steps)], generator=torch.Generator().manual_seed(0),
    ).images[0]  # fmt: skip
    context = project_context(Project.open(asked.project), None)
    from clora_ext.config.precision import pick_precision

    model = context.family.load(context.open_current(), pick_precision())
    ours = model.sample(
        "sks dog", negative="", seeds=[0], steps=steps, guidance=4.0, size=16, on_step=lambda d, t: None
    )
    assert max(abs(a - b) for a, b in zip(ours[0].tobytes(), theirs.tobytes(), strict=True)) <= 3


def test_what_was_learned_is_one_lora_that_another_project_takes(asked: Request, tmp_path: Path) -> None:
    done = add_concept(asked)
    file = tmp_path / "learned.safetensors"
    exported = export_lora(asked.project, file, rank=32)
    assert (exported.layers, exported.left_out) == (14, ())
    assert exported.captured > 0.999
    names = {name.rsplit(".", 2)[0] for name in load_file(file) if not name.endswith("alpha")}
    assert "diffusion_model.layers.1.attention.to_k" in names
    again = add_concept(replace(asked, source=Lora(file), project=tmp_path / "other", settings=FLOW))
    before, after = load_file(done.checkpoint), load_file(again.checkpoint)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name].float(), tensor.float(), atol=2e-2, rtol=2e-2)


def test_everything_in_one_file_is_a_base_too(asked: Request, tmp_path: Path) -> None:
    whole = write_everything(tmp_path / "all.safetensors")
    done = add_concept(replace(asked, base=whole))
    assert set(load_file(done.checkpoint)) == set(load_file(whole))
    parts = add_concept(replace(asked, project=tmp_path / "parts"))
    taught = load_file(parts.checkpoint)
    found = load_file(done.checkpoint)
    assert all(torch.equal(found[name], tensor) for name, tensor in taught.items())


def test_pictures_are_encoded_by_another_vae(asked: Request, tmp_path: Path) -> None:
    other = write_tiny_flow(tmp_path / "other", seed=5)
    assert isinstance(asked.source, Pictures)
    own = add_concept(replace(asked, project=tmp_path / "own"))
    done = add_concept(replace(asked, source=replace(asked.source, vae=other.vae)))
    assert done.content_hash != own.content_hash
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
    square = replace(asked, settings=FLOW.with_values(batch_size=3))
    add_concept(square, lambda event: seen.append(event.loss) if isinstance(event, TrainStep) else None)
    assert len(seen) == 6
