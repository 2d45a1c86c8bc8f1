"""Checkpoints as other programs write them: left-overs, other names, fewer bits, and what a plan says."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each, empty_folder
from real_shapes import tiny_sdxl
from real_shapes import write as write_real
from safetensors.torch import load_file, save_file
from small_runs import SETTINGS, pictures
from tiny_model import write_tiny_model

from clora_ext import GenerateRequest, Pictures, Request, add_concept, export_checkpoint, generate, make_plan
from clora_ext.errors import CheckpointError
from clora_ext.families import detect
from clora_ext.families.latent import verdicts
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.composed import open_model
from clora_ext.formats.header import read_header

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
CLIP_L, BIG_G = "conditioner.embedders.0.", "conditioner.embedders.1.model."
LAYER = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
NUMBERS = torch.arange(77).expand(1, -1).clone()
FLOATS = torch.tensor([[1.0, 1 / 3], [70000.0, -1e-9]])  # what half precision cannot hold

# What the programs that write checkpoints leave in them, by where it was seen.
LEFT_IN_SD1: Mapping[str, torch.Tensor] = {
    "betas": FLOATS.double(),
    "alphas_cumprod": FLOATS,
    "sqrt_one_minus_alphas_cumprod": FLOATS,
    "posterior_log_variance_clipped": FLOATS,
    "model_ema.decay": torch.tensor(0.9999),
    "model_ema.num_updates": torch.tensor(7, dtype=torch.int32),
    "model_ema.diffusion_modelinput_blocks00weight": FLOATS,
    "cond_stage_model.logit_scale": torch.tensor(4.6052),
    "cond_stage_model.text_projection": FLOATS,
    f"{TEXT}text_projection.weight": FLOATS,
    f"{TEXT}logit_scale": torch.tensor(4.6052),
    f"{TEXT}text_model.embeddings.position_ids": NUMBERS,
    f"{TEXT}text_model.encoder.text_model.embeddings.position_ids": NUMBERS,
    f"{TEXT}vision_model.encoder.layers.0.mlp.fc1.weight": FLOATS,
    f"{VAE}loss.logvar": torch.tensor(0.1),
    f"{VAE}loss.discriminator.main.0.weight": FLOATS[..., None, None].clone(),
    f"{VAE}model_ema.decay": torch.tensor(0.99),
}
LEFT_IN_SDXL: Mapping[str, torch.Tensor] = {
    "v_pred": torch.zeros(0),
    "ztsnr": torch.zeros(0),
    "denoiser.sigmas": FLOATS,
    f"{CLIP_L}logit_scale": torch.tensor(4.6052),
    f"{CLIP_L}transformer.text_projection.weight": FLOATS,
    f"{CLIP_L}transformer.text_model.embeddings.position_ids": NUMBERS,
    f"{BIG_G}logit_scale": torch.tensor(4.6052),
    f"{BIG_G}attn_mask": FLOATS,
    f"{BIG_G}text_projection.weight": FLOATS,
    f"{BIG_G}transformer.text_model.embeddings.position_ids": NUMBERS,
}


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("sd1") / "tiny.safetensors")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_real(tmp_path_factory.mktemp("sdxl") / "tiny.safetensors", tiny_sdxl())


def rewritten(base: Path, file: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Other tensors under the base's metadata, written by the safetensors library."""
    save_file(
        {name: tensor.clone().contiguous() for name, tensor in tensors.items()},
        file,
        dict(read_header(base).metadata),
    )
    return file


def stored(file: Path, name: str) -> tuple[str, bytes]:
    """dtype and bytes of a tensor."""
    checkpoint = Checkpoint(file)
    return checkpoint.info(name).dtype, b"".join(map(bytes, checkpoint.chunks(name)))


def request(base: Path, **values: Any) -> Request:
    images = pictures(empty_folder(base.parent) / "dog_images", count=1)
    settings = SETTINGS.with_values(
        steps=1, warmup_steps=0, batch_size=1, sample_count=1, sample_steps=1, **values
    )
    return Request(Pictures(images), images.parent / "project", base=base, settings=settings)


@pytest.mark.long
def test_left_overs_travel_byte_for_byte_through_teaching_and_export(sd1: Path, tmp_path: Path) -> None:
    base = rewritten(sd1, tmp_path / "base.safetensors", {**load_file(sd1), **LEFT_IN_SD1})
    asked = request(base, text_encoder=True, targets="transformer")
    make_plan(asked)
    result = add_concept(asked)
    out = tmp_path / "out.safetensors"
    exported = export_checkpoint(asked.project, out)

    def check(name: str) -> None:
        assert stored(base, name) == stored(result.checkpoint, name) == stored(out, name)

    check_each(LEFT_IN_SD1, check)
    assert set(read_header(out).tensors) == set(read_header(base).tensors)
    assert exported.dtype == "fp16"  # what is left over says nothing of the model's own
    assert stored(out, LAYER) != stored(base, LAYER)


def test_left_overs_are_no_layers_and_keep_no_model_from_loading(sdxl: Path, tmp_path: Path) -> None:
    base = rewritten(sdxl, tmp_path / "base.safetensors", {**load_file(sdxl), **LEFT_IN_SDXL})
    header, plain = read_header(base), read_header(sdxl)
    family = detect(header, base)
    family.check_loading(header, base)
    assert family.modules(header) == detect(plain, sdxl).modules(plain)
    roles = family.roles(header)
    assert {name for name, role in roles.items() if role is None} == set(LEFT_IN_SDXL)
    assert {roles[name] for name in plain.tensors} == {"denoiser", "text_encoder", "vae"}


TODAY = {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0", "norm": "group_norm"}
ONCE = {"q": "query", "k": "key", "v": "value", "proj_out": "proj_attn", "norm": "group_norm"}


@pytest.mark.long
def test_vae_attention_is_read_under_every_name_it_has_had(sd1: Path, tmp_path: Path) -> None:
    state = load_file(sd1)
    draw = GenerateRequest("a dog", count=1, steps=1)
    wanted = generate(sd1, draw, tmp_path / "wanted.png")[0].read_bytes()

    def check(case: tuple[Mapping[str, str], bool]) -> None:
        names, as_matrix = case
        renamed = dict(state)
        for side in ("encoder", "decoder"):
            block = f"{VAE}{side}.mid.attn_1."
            for usual, other in names.items():
                for kind in ("weight", "bias"):
                    tensor = renamed.pop(f"{block}{usual}.{kind}")
                    flat = as_matrix and tensor.ndim == 4
                    renamed[f"{block}{other}.{kind}"] = tensor.squeeze((2, 3)) if flat else tensor
        file = rewritten(sd1, empty_folder(tmp_path) / "x.safetensors", renamed)
        read = open_model(file)
        assert set(read.names) == set(state)
        assert all(torch.equal(read.read(name), tensor) for name, tensor in state.items())
        assert generate(file, draw, file.with_suffix(".png"))[0].read_bytes() == wanted

    check_each([(names, as_matrix) for names in (TODAY, ONCE) for as_matrix in (False, True)], check)


def test_a_second_copy_under_another_name_is_left_alone(sd1: Path, tmp_path: Path) -> None:
    flat = f"{TEXT}embeddings.position_ids"
    both = {**load_file(sd1), f"{TEXT}text_model.embeddings.position_ids": NUMBERS, flat: NUMBERS + 1}
    file = rewritten(sd1, tmp_path / "x.safetensors", both)
    assert set(open_model(file).names) == set(both)
    detect(open_model(file).header, file).check_loading(open_model(file).header, file)


def halves(state: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {n: t.to(dtype) if n.startswith(UNET) and t.ndim > 1 else t for n, t in state.items()}


def packed(state: dict[str, torch.Tensor], **beside: torch.Tensor) -> dict[str, torch.Tensor]:
    flat = (state[LAYER].reshape(-1, 1)[::2] * 0).to(torch.uint8)
    return {**state, LAYER: flat, **{f"{LAYER}.{name}": tensor for name, tensor in beside.items()}}


def quantised_kinds(state: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    one, byte = torch.ones(1), torch.ones(1, dtype=torch.uint8)
    scale, statistics = LAYER.replace(".weight", ".scale_weight"), LAYER.replace(".weight", ".SCB")
    fp8 = halves(state, torch.float8_e4m3fn)
    return {
        "stored in 8 bits (fp8)": fp8,
        "stored in 8 bits (fp8, scaled)": {**fp8, scale: one},
        "quantised to 8 bits (bitsandbytes int8)": {**halves(state, torch.int8), statistics: one},
        "quantised to whole numbers": halves(state, torch.int8),
        "quantised to 4 bits (bitsandbytes nf4)": packed(
            state, **{"absmax": one, "quant_map": one, "quant_state.bitsandbytes__nf4": byte}
        ),
        "quantised to 4 bits (bitsandbytes fp4)": packed(state, **{"quant_state.bitsandbytes__fp4": byte}),
        "quantised to 4 bits (bitsandbytes)": packed(state, absmax=one),
    }  # fmt: skip


def test_quantised_files_are_refused_in_the_plan_by_what_they_are(sd1: Path, tmp_path: Path) -> None:
    kinds = quantised_kinds(load_file(sd1))

    def check(words: str) -> None:
        file = rewritten(sd1, empty_folder(tmp_path) / "x.safetensors", kinds[words])
        with pytest.raises(CheckpointError) as caught:
            make_plan(request(file))
        assert f"x.safetensors is {words}" in caught.value.message
        assert "fp16" in caught.value.fix

    check_each(kinds, check)
    (tmp_path / "model.gguf").write_bytes(b"GGUF\3" + bytes(60))
    with pytest.raises(CheckpointError, match=r"model\.gguf is a GGUF file"):
        make_plan(request(tmp_path / "model.gguf"))


def test_a_quantised_component_of_a_folder_is_refused_by_what_it_is(sdxl: Path, tmp_path: Path) -> None:
    for name, module in tiny_sdxl().items():
        module.save_pretrained(tmp_path / name)  # type: ignore[operator]
    index = '{"_class_name": "StableDiffusionXLPipeline"}'
    (tmp_path / "model_index.json").write_text(index, encoding="utf-8")
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    first = next(name for name in state if name.endswith("to_q.weight"))
    save_file({**state, f"{first}.absmax": torch.ones(1)}, weights)
    with pytest.raises(CheckpointError, match=r"quantised to 4 bits \(bitsandbytes\)"):
        make_plan(request(tmp_path))


def spoiled_kinds(state: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    norm = f"{UNET}out.0.weight"
    return {
        "has no tensor": {name: tensor for name, tensor in state.items() if name != norm},
        "has the shape": {**state, norm: state[norm][:-1]},
        "have no place in the model": {**state, f"{UNET}out.9.weight": state[norm]},
        "stored as I64, which cannot be computed with": {**state, norm: state[norm].long()},
    }


@pytest.mark.long
def test_a_dry_run_refuses_what_loading_would_refuse_in_the_same_words(sd1: Path, tmp_path: Path) -> None:
    kinds = spoiled_kinds(load_file(sd1))

    def check(words: str) -> None:
        file = rewritten(sd1, empty_folder(tmp_path) / "x.safetensors", kinds[words])
        asked = request(file)
        with pytest.raises(CheckpointError, match=words) as planned:
            make_plan(asked)
        with pytest.raises(CheckpointError) as loaded:
            add_concept(asked)
        assert planned.value.message == loaded.value.message
        assert not asked.project.exists()

    check_each(kinds, check)


def test_what_was_found_to_load_is_not_built_again(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two dry runs the second needs no diffusers; another header or version is looked at anew."""
    from clora_ext.families.latent import modules

    built: list[Path] = []
    check = modules.check_modules

    def counted(header: Any, where: Path, *others: Any) -> None:
        built.append(where)
        check(header, where, *others)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(modules, "check_modules", counted)
    base = Path(shutil.copy(sd1, tmp_path / "base.safetensors"))
    for _ in range(2):
        make_plan(request(base))
    assert built == [base]
    monkeypatch.setattr(verdicts, "VERSION", "another")
    make_plan(request(base))
    assert built == [base, base]
    without = {name: tensor for name, tensor in load_file(sd1).items() if name != f"{UNET}out.0.weight"}
    rewritten(sd1, base, without)
    with pytest.raises(CheckpointError, match="has no tensor"):
        make_plan(request(base))
    with pytest.raises(CheckpointError, match="has no tensor"):
        make_plan(request(base))  # what was refused is never remembered as fit
