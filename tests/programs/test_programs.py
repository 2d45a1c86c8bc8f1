"""Other programs' own code reads our files: nothing missing, nothing unexpected, the same numbers."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from other_programs import from_single_file, ldm_text, ldm_unet, ldm_vae, stand_in
from real_shapes import BIG_G, CLIP_L, TINY_BIG, mini_sd1, sd1_header, sdxl_header, tiny_sdxl, write
from safetensors.torch import load_file
from torch import nn

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.families.model import SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.header import Header

SQUARE = SizeConditioning((64, 64), (0, 0), (64, 64))
PROMPT = "a photo of sks dog!"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("mini") / "mini.safetensors", mini_sd1(), torch.float32)


@pytest.fixture(scope="module")
def model(mini: Path) -> Any:
    return families.load("sd1").load(Checkpoint(mini), pick_precision())


@pytest.fixture
def ldm() -> Iterator[pytest.MonkeyPatch]:
    """Stability's own package, without the parts of it that train."""
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch, "open_clip", "pytorch_lightning", "omegaconf", "omegaconf.listconfig")
        patch.setattr(sys.modules["pytorch_lightning"], "LightningModule", nn.Module, raising=False)
        yield patch


def part(file: Path, prefix: str) -> dict[str, torch.Tensor]:
    found = {name: tensor for name, tensor in load_file(file).items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def on_meta(header: Header) -> dict[str, torch.Tensor]:
    return {name: torch.empty(info.shape, device="meta") for name, info in header.tensors.items()}


@pytest.mark.long
@torch.no_grad()
def test_ldm_reads_the_unet(mini: Path, model: Any, ldm: pytest.MonkeyPatch) -> None:
    theirs = ldm_unet(model_channels=320, channel_mult=[1, 1], num_res_blocks=1, attention=[1, 2])
    theirs.load_state_dict(part(mini, "model.diffusion_model."), strict=True)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    text = torch.randn(2, 77, 768, generator=generator)
    times = torch.tensor([10, 700])
    ours = model.predict(latents, times, {"states": text})
    torch.testing.assert_close(ours, theirs(latents, times, context=text), rtol=1e-4, atol=1e-4)


@pytest.mark.long
@torch.no_grad()
def test_ldm_reads_the_vae(mini: Path, model: Any, ldm: pytest.MonkeyPatch) -> None:
    theirs = ldm_vae()
    theirs.load_state_dict(part(mini, "first_stage_model."), strict=True)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    place = theirs.encode(pixels)
    mean, deviation = model.encode_images(pixels)
    torch.testing.assert_close(mean / 0.18215, place.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(deviation / 0.18215, place.std, rtol=1e-4, atol=1e-4)
    again = model.vae.decode(place.mean).sample
    torch.testing.assert_close(again, theirs.decode(place.mean), rtol=1e-4, atol=1e-4)


@pytest.mark.long
@torch.no_grad()
def test_ldm_reads_the_text_encoder(mini: Path, model: Any, ldm: pytest.MonkeyPatch) -> None:
    theirs = ldm_text(ldm, CLIP_L, model.text.tokenizer)
    theirs.load_state_dict(part(mini, "cond_stage_model."), strict=True)
    ours = model.condition([PROMPT, ""], [SQUARE] * 2)["states"]
    torch.testing.assert_close(ours, theirs([PROMPT, ""]), rtol=1e-4, atol=1e-4)


def test_forge_takes_it_for_sd15(mini: Path) -> None:
    from huggingface_guess import guess

    for state in (load_file(mini), on_meta(sd1_header())):
        found = guess(state)
        assert type(found).__name__ == "SD15"
        text = found.process_clip_state_dict(dict(state))
        assert sum("text_model." in name for name in text) == 196


def test_forge_takes_it_for_sdxl() -> None:
    from huggingface_guess import guess

    header = sdxl_header()
    found = guess(on_meta(header))
    assert type(found).__name__ == "SDXL"
    text = found.process_clip_state_dict(on_meta(header))
    assert sum(name.startswith("clip_l.") for name in text) == 196
    assert any(name.startswith("clip_g.") for name in text)


@pytest.fixture
def open_clip() -> Iterator[Any]:
    """open_clip without the pictures' half, which needs torchvision."""
    with pytest.MonkeyPatch.context() as patch:
        names = ("", ".transforms", ".transforms.functional", ".ops", ".ops.misc")
        stand_in(patch, *(f"torchvision{name}" for name in names))
        before = set(sys.modules)
        import open_clip

        yield open_clip
        for name in set(sys.modules) - before:
            if name.startswith("open_clip"):
                patch.delitem(sys.modules, name)


def text_tower(open_clip: Any, config: Any) -> nn.Module:
    from open_clip.transformer import TextTransformer

    tower: nn.Module = TextTransformer(
        context_length=77, vocab_size=config["vocab_size"], width=config["hidden_size"],
        heads=config["num_attention_heads"], layers=config["num_hidden_layers"],
        output_dim=config["projection_dim"],
    )  # fmt: skip
    return tower


def test_open_clip_has_the_same_names_and_shapes_for_bigg(open_clip: Any) -> None:
    with torch.device("meta"):
        theirs = {name: tuple(t.shape) for name, t in text_tower(open_clip, BIG_G).state_dict().items()}
    prefix = "conditioner.embedders.1.model."
    ours = {
        name.removeprefix(prefix): info.shape
        for name, info in sdxl_header().tensors.items()
        if name.startswith(prefix)
    }
    assert ours == theirs


@torch.no_grad()
def test_open_clip_gives_the_same_pooled_text(open_clip: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "tiny.safetensors", tiny_sdxl(), torch.float32)
    theirs = text_tower(open_clip, TINY_BIG).eval()
    theirs.load_state_dict(part(file, "conditioner.embedders.1.model."), strict=True)
    ours = (
        families.load("sdxl")
        .load(Checkpoint(file), pick_precision())
        .condition([PROMPT, "a cat"], [SQUARE] * 2)
    )
    tokens = open_clip.tokenize([PROMPT, "a cat"])
    torch.testing.assert_close(ours["pooled"], theirs(tokens), rtol=1e-4, atol=1e-4)


def test_open_clip_reads_prompts_as_the_same_tokens(open_clip: Any, model: Any) -> None:
    prompts = [
        "a photo of sks dog", "Hello, World!!", "don't stop", "naïve café №5", "猫と犬", "🐶🎉 party",
        "x" * 90, "1234567890 3.14", "a_b-c/d\\e", "  spaced   out  ", "(very:1.3) [nice]", "word " * 100,
    ]  # fmt: skip
    theirs = open_clip.tokenize(prompts).tolist()
    ours = model.text.tokenizer(prompts, truncation=True, max_length=77).input_ids
    for prompt, mine, other in zip(prompts, ours, theirs, strict=True):
        end = other.index(49407) + 1
        assert mine == other[:end], prompt


@torch.no_grad()
def test_diffusers_reads_the_single_file(mini: Path, model: Any, tmp_path: Path) -> None:
    theirs = from_single_file(mini, model, tmp_path)
    for name in ("unet", "vae", "text_encoder"):
        ours, other = model.parts[name].state_dict(), getattr(theirs, name).state_dict()
        assert ours.keys() == other.keys()
        assert all(torch.equal(ours[key], other[key]) for key in ours)
