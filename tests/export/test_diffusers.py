"""The folder for diffusers: its own loader draws what our model draws."""

from pathlib import Path

import pytest
import torch
from cases import check_each
from diffusers import DiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import RESOLUTION, write_tiny_model
from tiny_project import project_of

from clora_ext import Project, export_to, families
from clora_ext.config.precision import pick_precision
from clora_ext.errors import UsageError
from clora_ext.formats.checkpoint import Checkpoint

LAYER = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_v.weight"
MODULE = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v.weight"
DOGS = [("sks", "dog")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "full.safetensors", dtype=torch.float32)


def drawn_by_diffusers(folder: Path, dtype: torch.dtype | None = None) -> torch.Tensor:
    pipeline = DiffusionPipeline.from_pretrained(folder, **({} if dtype is None else {"dtype": dtype}))
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(3)
    (image,) = pipeline(
        "a photo of sks dog", num_inference_steps=4, guidance_scale=4.0, generator=generator
    ).images
    assert image.size == (RESOLUTION, RESOLUTION)
    return torch.tensor(list(image.tobytes()))


def drawn_by_us(project: Path) -> torch.Tensor:
    file = Project.open(project).checkpoint_path
    assert file is not None
    checkpoint = Checkpoint(file)
    model = families.detect(checkpoint.header, file).load(checkpoint, pick_precision())
    (image,) = model.sample(
        "a photo of sks dog",
        negative="",
        seeds=[3],
        steps=4,
        guidance=4.0,
        size=RESOLUTION,
        on_step=lambda *_: None,
    )
    return torch.tensor(list(image.tobytes()))


def test_diffusers_draws_the_same_picture(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", base, DOGS)
    exported = export_to(project, "diffusers", tmp_path / "folder")
    assert exported.path == tmp_path / "folder"
    assert exported.content_hash is None
    ours, theirs = drawn_by_us(project), drawn_by_diffusers(tmp_path / "folder")
    assert ours.float().std() > 5
    assert (ours - theirs).abs().max() <= 1


@pytest.mark.long
def test_diffusers_loads_it_in_any_dtype(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", base, DOGS)
    export_to(project, "diffusers", tmp_path / "folder")
    ours = drawn_by_us(project)
    for dtype in (torch.float32, torch.bfloat16):
        theirs = drawn_by_diffusers(tmp_path / "folder", dtype)
        assert (ours - theirs).abs().float().mean() < 8, dtype


def test_a_folder_has_what_diffusers_wants_and_no_more(base: Path, tmp_path: Path) -> None:
    exported = export_to(project_of(tmp_path / "p", base, DOGS), "diffusers", tmp_path / "folder")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        *("model_index.json", "unet", "vae", "text_encoder", "tokenizer", "scheduler")
    }
    assert {file.path for file in exported.files} == {
        path for path in (tmp_path / "folder").rglob("*") if path.is_file()
    }
    text = (tmp_path / "folder" / "model_index.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text


def test_text_encoders_have_the_names_that_every_release_reads(base: Path, tmp_path: Path) -> None:
    export_to(project_of(tmp_path / "p", base, DOGS), "diffusers", tmp_path / "folder")
    tensors = load_file(tmp_path / "folder" / "text_encoder" / "model.safetensors")
    assert tensors
    assert all(name.startswith("text_model.") for name in tensors)


def weights(folder: Path, component: str) -> dict[str, torch.Tensor]:
    return load_file(folder / component / "diffusion_pytorch_model.safetensors")


def test_weights_are_rounded_once_and_the_vae_never(full: Path, tmp_path: Path) -> None:
    original = load_file(full)
    exact = torch.randn(original[LAYER].shape, generator=torch.Generator().manual_seed(1))
    project = project_of(tmp_path / "p", full, DOGS, memory={LAYER: exact})

    def check(case: tuple[str | None, torch.dtype]) -> None:
        dtype, kind = case
        export_to(project, "diffusers", tmp_path / "folder", dtype, overwrite=True)
        unet, vae = weights(tmp_path / "folder", "unet"), weights(tmp_path / "folder", "vae")
        assert {tensor.dtype for tensor in unet.values()} == {kind}
        assert torch.equal(unet[MODULE], exact.to(kind))
        assert torch.equal(
            vae["encoder.conv_in.weight"], original["first_stage_model.encoder.conv_in.weight"]
        )
        text = load_file(tmp_path / "folder" / "text_encoder" / "model.safetensors")
        assert {tensor.dtype for tensor in text.values()} == {kind}

    check_each([(None, torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)], check)


def test_components_of_different_dtypes_keep_their_own(base: Path, tmp_path: Path) -> None:
    tensors, text = load_file(base), "cond_stage_model.transformer.text_model.final_layer_norm.bias"
    tensors[text] = torch.full_like(tensors[text], 1e-9, dtype=torch.bfloat16)  # float16 has none so small
    mixed = {n: t.bfloat16() if n.startswith("cond_stage_model.") else t for n, t in tensors.items()}
    with safe_open(base, "pt") as opened:
        save_file(mixed, tmp_path / "mixed.safetensors", opened.metadata())
    export_to(
        project_of(tmp_path / "p", tmp_path / "mixed.safetensors", DOGS), "diffusers", tmp_path / "folder"
    )
    kept = load_file(tmp_path / "folder" / "text_encoder" / "model.safetensors")
    assert torch.equal(kept["text_model.final_layer_norm.bias"], mixed[text])
    assert weights(tmp_path / "folder", "unet")[MODULE].dtype == torch.float16


def test_only_a_folder_of_diffusers_is_replaced_and_only_when_asked_for(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", base, DOGS)
    folder = tmp_path / "folder"
    folder.mkdir()
    export_to(project, "diffusers", folder)
    with pytest.raises(UsageError, match="exists"):
        export_to(project, "diffusers", folder, "bf16")
    export_to(project, "diffusers", folder, "bf16", overwrite=True)
    assert weights(folder, "unet")[MODULE].dtype == torch.bfloat16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "p"]
    (folder / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match=r"thesis\.txt"):
        export_to(project, "diffusers", folder, overwrite=True)
    (tmp_path / "photos" / "unet").mkdir(parents=True)
    for other in (tmp_path / "photos", project):
        with pytest.raises(UsageError, match="holds other things"):
            export_to(project, "diffusers", other, overwrite=True)
    with pytest.raises(UsageError, match="is a file"):
        export_to(project, "diffusers", folder / "thesis.txt", overwrite=True)


def test_a_name_makes_a_folder_below(base: Path, tmp_path: Path) -> None:
    exported = export_to(
        project_of(tmp_path / "p", base, DOGS), "diffusers", tmp_path / "models", name="pets"
    )
    assert exported.path == tmp_path / "models" / "pets"
    assert (exported.path / "model_index.json").is_file()
