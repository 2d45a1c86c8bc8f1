"""SD 1.5 and SDXL at full size, with random weights: taught, exported, and read by other programs."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from other_programs import from_single_file, ldm_text, ldm_unet, ldm_vae, stand_in
from PIL import Image
from real_shapes import CLIP_L, random_checkpoint, sd1_header, sdxl_header
from safetensors.torch import load_file
from torch import nn

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.families.model import SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint


def pictures(folder: Path, seed: int) -> Path:
    folder.mkdir()
    pixels = np.random.default_rng(seed).integers(0, 255, (80, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "1.png")
    return folder


def clora(*arguments: object) -> dict[str, Any]:
    """Run the command with sheets of two steps at 64 pixels; its result and the peak of its memory, bytes."""
    code = (
        "import sys, resource\n"
        "from clora_ext.cli.app import main\n"
        "code = main()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    command = [sys.executable, "-c", code, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    peak = int(done.stderr.strip().splitlines()[-1]) * 1024
    return {**json.loads(done.stdout.splitlines()[-1])["result"], "peak": peak}


def teach_twice(base: Path, folder: Path) -> list[dict[str, Any]]:
    fast = ("--steps", "2", "--batch-size", "1", "--resolution", "64", "--sample-steps", "2")
    names = ("dog_images", "toy_images")
    return [
        clora(
            *("add-concept", "--project", folder / "model", *(("--base", base) if not seed else ()), *fast),
            *(() if seed else ("--export-lora", folder / "kept.safetensors")),
            pictures(folder / name, seed),
        )
        for seed, name in enumerate(names)
    ]


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project on a full-shape SD 1.5 with two concepts, exported."""
    folder = tmp_path_factory.mktemp("sd15")
    results = teach_twice(random_checkpoint(folder / "base.safetensors", sd1_header()), folder)
    print("\nSD1.5 peaks:", [f"{result['peak'] / 1e9:.2f} GB" for result in results])
    clora("export", "--project", folder / "model", folder / "out.safetensors")
    yield folder
    for file in folder.rglob("*.safetensors"):
        file.unlink()


@pytest.mark.slow
def test_sd15_goes_through_two_concepts_to_a_file_of_the_published_names(sd15: Path) -> None:
    exported = Checkpoint(sd15 / "out.safetensors")
    wanted = sd1_header().tensors
    assert {name: info.shape for name, info in exported.header.tensors.items()} == {
        name: info.shape for name, info in wanted.items()
    }
    base = Checkpoint(sd15 / "base.safetensors")
    vae = [name for name in base.names if name.startswith("first_stage_model.")]
    assert all(torch.equal(base.read(name), exported.read(name)) for name in vae)
    changed = [name for name in base.names if not torch.equal(base.read(name), exported.read(name))]
    assert 0 < len(changed) <= 128
    assert all(".attn" in name for name in changed)


@pytest.mark.slow
@torch.no_grad()
def test_sd15_is_read_by_ldm_and_taken_for_sd15_by_forge(sd15: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_guess import guess

    stand_in(monkeypatch, "open_clip", "pytorch_lightning", "omegaconf", "omegaconf.listconfig")
    monkeypatch.setattr(sys.modules["pytorch_lightning"], "LightningModule", nn.Module, raising=False)
    file = sd15 / "out.safetensors"
    state = load_file(file)
    assert type(guess(dict(state))).__name__ == "SD15"
    ours = families.load("sd1").load(Checkpoint(file), pick_precision())
    rng = torch.Generator().manual_seed(0)
    latents, text = torch.randn(1, 4, 8, 8, generator=rng), torch.randn(1, 77, 768, generator=rng)
    pixels, time = torch.rand(1, 3, 64, 64, generator=rng) * 2 - 1, torch.tensor([500])

    unet = ldm_unet(model_channels=320, channel_mult=[1, 2, 4, 4], num_res_blocks=2, attention=[4, 2, 1])
    unet.load_state_dict(part(state, "model.diffusion_model."), strict=True)
    close(ours.predict(latents, time, {"states": text}), unet(latents, time, context=text))
    vae = ldm_vae()
    vae.load_state_dict(part(state, "first_stage_model."), strict=True)
    close(ours.encode_images(pixels)[0] / 0.18215, vae.encode(pixels).mean)
    encoder = ldm_text(monkeypatch, CLIP_L, ours.text.tokenizer)  # type: ignore[attr-defined]
    encoder.load_state_dict(part(state, "cond_stage_model."), strict=True)
    square = SizeConditioning((64, 64), (0, 0), (64, 64))
    close(ours.condition(["a photo of sks dog"], [square])["states"], encoder(["a photo of sks dog"]))


@pytest.mark.slow
def test_sd15_is_read_by_diffusers_as_a_single_file(sd15: Path, tmp_path: Path) -> None:
    file = sd15 / "out.safetensors"
    ours: Any = families.load("sd1").load(Checkpoint(file), pick_precision())
    theirs = from_single_file(file, ours, tmp_path)
    for name in ("unet", "vae", "text_encoder"):
        mine, other = ours.parts[name].state_dict(), getattr(theirs, name).state_dict()
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[key], other[key]) for key in mine)


def part(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t.float() for name, t in state.items() if name.startswith(prefix)}


def close(mine: torch.Tensor, theirs: torch.Tensor) -> None:
    print(f"largest difference {float((mine - theirs).abs().max()):.1e} of {float(theirs.abs().max()):.1f}")
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.slow
def test_sdxl_is_taught_in_less_than_16_gb(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    base = random_checkpoint(tmp_path / "base.safetensors", sdxl_header())
    fast = ("--steps", "2", "--batch-size", "1", "--resolution", "64", "--sample-steps", "2")
    images = pictures(tmp_path / "dog_images", 0)
    result = clora("add-concept", "--project", tmp_path / "model", "--base", base, *fast, images)
    print(f"\nSDXL peak: {result['peak'] / 1e9:.2f} GB (children before: {before / 1e6:.2f} GB)")
    assert result["peak"] < 16e9
    exported = Checkpoint(Path(result["checkpoint"]))
    assert {name: info.shape for name, info in exported.header.tensors.items()} == {
        name: info.shape for name, info in sdxl_header().tensors.items()
    }
