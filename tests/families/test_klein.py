"""Flux.2 klein in memory: it answers, reads, encodes and draws as diffusers does."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline
from flow_captions import captions
from tiny_flow import CHANNELS, modules, write_everything

from clora_ext import families
from clora_ext.config.precision import pick_precision, to_keep
from clora_ext.families.family_data import family_data
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.formats.header import Header

KIND = "flux2_klein_4b"
FAMILY = families.load(KIND)
# Of ComfyUI 0.33's tokenizer, behind the template of Flux.2 klein, without what is filled up.
TOKENS = "74bbd7a15ed5e3e1263070400d12f88dd5a01e5bedd47844b753406151da49a9"
SIZES = [(4, 4), (3, 6)]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("flow") / "all.safetensors"
    return write_everything(file, dtype=torch.float32, kind=KIND)


@pytest.fixture(scope="module")
def model(everything: Path) -> Any:
    return FAMILY.load(Checkpoint(everything), pick_precision())


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return {name: part.eval() for name, part in modules(kind=KIND).items()}


def test_the_transformer_answers_as_diffusers_own(model: Any, parts: dict[str, Any]) -> None:
    rng = torch.Generator().manual_seed(1)
    times = torch.tensor([0.2, 0.9])
    with torch.no_grad():
        condition = model.condition(["a dog", "a very long caption about a dog " * 8], [])
        words = Flux2KleinPipeline._prepare_text_ids(condition["states"])
        for height, width in SIZES:
            latents = torch.randn(2, 4 * CHANNELS, height, width, generator=rng)
            places = Flux2KleinPipeline._prepare_latent_ids(latents)
            wanted = parts["transformer"](
                hidden_states=Flux2KleinPipeline._pack_latents(latents), timestep=times, guidance=None,
                encoder_hidden_states=condition["states"], txt_ids=words, img_ids=places,
            ).sample  # fmt: skip
            wanted = Flux2KleinPipeline._unpack_latents_with_ids(wanted, places)
            torch.testing.assert_close(model.predict(latents, times, condition), wanted, atol=5e-5, rtol=0)


def test_parts_in_the_wrong_place_are_noticed(
    everything: Path, parts: dict[str, Any], tmp_path: Path
) -> None:
    """Queries for keys, or halves exchanged, where several parameters are one: the test above fails."""
    stored = Checkpoint(everything)
    whole = {name: stored.read(name) for name in stored.names}
    cases = [
        ("double_blocks.0.img_attn.qkv.weight", (1, 0, 2)),
        ("double_blocks.1.txt_attn.qkv.weight", (0, 2, 1)),
        ("double_blocks.0.img_mlp.0.weight", (1, 0)),
        ("single_blocks.1.linear1.weight", (1, 0, 2, 3, 4, 5, 6, 7, 8)),
        ("single_blocks.0.linear1.weight", (0, 1, 2, 6, 7, 8, 3, 4, 5)),
        ("final_layer.adaLN_modulation.1.weight", (1, 0)),
        ("double_stream_modulation_img.lin.weight", (1, 0, 2, 3, 4, 5)),
    ]

    def check(case: tuple[str, tuple[int, ...]]) -> None:
        name, order = FLOW_PREFIX + case[0], case[1]
        chunks = whole[name].chunk(len(order))
        wrong = {name: torch.cat([chunks[place] for place in order])}
        sources = {key: Source.of(tensor) for key, tensor in {**whole, **wrong}.items()}
        write_checkpoint(tmp_path / "x.safetensors", sources, {})
        other: Any = FAMILY.load(Checkpoint(tmp_path / "x.safetensors"), pick_precision())
        with pytest.raises(AssertionError):
            test_the_transformer_answers_as_diffusers_own(other, parts)

    check_each(cases, check)


def test_latents_and_pictures_are_diffusers_own(model: Any, parts: dict[str, Any]) -> None:
    pixels = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    own = pipeline(model, parts)
    with torch.no_grad():
        mean, deviation = model.encode_images(pixels)
        wanted = own._encode_vae_image(pixels, torch.Generator())
        spread = own._patchify_latents(parts["vae"].encode(pixels).latent_dist.std)
    torch.testing.assert_close(mean, wanted, atol=1e-4, rtol=0)
    statistics = parts["vae"].bn.running_var.reshape(1, -1, 1, 1) + 1e-4
    torch.testing.assert_close(deviation, spread / statistics.sqrt(), atol=1e-4, rtol=0)
    assert mean.shape == (2, 4 * CHANNELS, 4, 6)
    assert model.latent_shape(32) == (4 * CHANNELS, 8, 8)


def test_tokens_are_filled_up_behind_the_authors_template(model: Any) -> None:
    reading = model.text.reading
    assert reading.asked("a dog") == [
        151644, 872, 198, 64, 5562, 151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271
    ]  # fmt: skip
    numbers = [reading._all(caption) for caption in captions()]
    assert sha256(json.dumps(numbers).encode()).hexdigest() == TOKENS
    assert FAMILY.tokens_cut(Header({}), "猫" * 600, None) == 612 - 512  # type: ignore[arg-type]


def test_what_is_kept_in_bfloat16_is_read_again_without_a_loss(model: Any) -> None:
    states = torch.randn(1, 512, 8, generator=torch.Generator().manual_seed(0))
    said = {"states": states.bfloat16(), "mask": torch.ones(1, 512)}
    kept = {name: to_keep(value) for name, value in said.items()}
    assert (kept["states"].dtype, kept["mask"].dtype) == (torch.bfloat16, torch.float32)
    assert to_keep(states.half()).dtype == torch.float32
    both = model.collate([kept, kept])
    assert both["states"].dtype == torch.float32
    assert torch.equal(both["states"][1], said["states"][0].float())


def pipeline(model: Any, parts: dict[str, Any]) -> Flux2KleinPipeline:
    """diffusers' own, with the model's tokenizer."""
    made = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**family_data(KIND)["scheduler"]), vae=parts["vae"],
        text_encoder=parts["text_encoder"], tokenizer=model.text.reading.tokenizer,
        transformer=parts["transformer"],
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def test_texts_are_read_as_diffusers_reads_them(model: Any, parts: dict[str, Any]) -> None:
    texts = ["a photo of sks dog", "猫が窓辺で眠っている 🌙", "", "a dog and a cat, " * 200]
    with torch.no_grad():
        wanted, _ = pipeline(model, parts).encode_prompt(list(texts))
        found = model.condition(texts, [])
        alone = model.collate([model.condition([text], []) for text in texts])
    assert found["mask"].shape == (4, 512)
    assert bool(found["mask"].all())
    torch.testing.assert_close(found["states"], wanted, atol=1e-5, rtol=0)
    assert all(torch.equal(found[name], alone[name]) for name in found)


@pytest.mark.parametrize("steps", [3, 6])
def test_pictures_are_drawn_as_diffusers_draws_them(model: Any, parts: dict[str, Any], steps: int) -> None:
    images = model.sample("a dog", negative="", seeds=[3], steps=steps, guidance=4.0, size=(32, 16))
    drawn = pipeline(model, parts)(
        prompt="a dog", height=16, width=32, num_inference_steps=steps, guidance_scale=4.0,
        generator=torch.Generator().manual_seed(3),
    ).images  # fmt: skip
    assert images[0].size == drawn[0].size == (32, 16)
    assert max(abs(a - b) for a, b in zip(images[0].tobytes(), drawn[0].tobytes(), strict=True)) <= 1
