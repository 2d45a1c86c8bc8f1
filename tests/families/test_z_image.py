"""Z-Image in memory: it answers, reads, encodes and draws as diffusers does."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline
from flow_captions import captions
from tiny_flow import CHANNELS, modules, write_everything

from clora_ext import families
from clora_ext.config.precision import Precision, pick_precision
from clora_ext.errors import UsageError
from clora_ext.families.family_data import family_data
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.formats.header import Header

FAMILY = families.load("z_image")
# Of ComfyUI 0.33's tokenizer, behind the template of Z-Image: sha256 of all numbers as JSON.
TOKENS = "b08e1cb1dc486967f1ba3fb8d1c83a37620dd97c74a69174e324bccbc33638e1"
SIZES = [(8, 8), (6, 10)]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("flow") / "all.safetensors"
    return write_everything(file, dtype=torch.float32)


@pytest.fixture(scope="module")
def model(everything: Path) -> Any:
    return FAMILY.load(Checkpoint(everything), pick_precision())


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return {name: part.eval() for name, part in modules().items()}


def test_the_transformer_answers_as_diffusers_own(model: Any, parts: dict[str, Any]) -> None:
    rng = torch.Generator().manual_seed(1)
    times = torch.tensor([0.2, 0.9])
    with torch.no_grad():
        condition = model.condition(["a dog", "a very long caption about a dog " * 8], [])
        for height, width in SIZES:
            latents = torch.randn(2, CHANNELS, height, width, generator=rng)
            found = model.predict(latents, times, condition)
            states = [
                one[: int(length)]
                for one, length in zip(condition["states"], condition["mask"].sum(1), strict=True)
            ]
            wanted = [
                parts["transformer"]([latents[n].unsqueeze(1)], 1 - times[n : n + 1], [states[n]]).sample[0]
                for n in range(2)
            ]
            torch.testing.assert_close(found, -torch.stack(wanted).squeeze(2), atol=5e-5, rtol=0)


def test_parts_in_the_wrong_place_are_noticed(
    everything: Path, parts: dict[str, Any], tmp_path: Path
) -> None:
    """Queries for keys, or the halves of a gated MLP exchanged: the test above fails."""
    stored = Checkpoint(everything)
    whole = {name: stored.read(name) for name in stored.names}
    block = f"{FLOW_PREFIX}layers.0"
    q, k, v = whole[f"{block}.attention.qkv.weight"].chunk(3)
    gates = [f"{block}.feed_forward.w{number}.weight" for number in (1, 3)]
    cases = [
        {f"{block}.attention.qkv.weight": torch.cat([k, q, v])},
        dict(zip(gates, [whole[name] for name in reversed(gates)], strict=True)),
    ]

    def check(wrong: dict[str, torch.Tensor]) -> None:
        sources = {name: Source.of(tensor) for name, tensor in {**whole, **wrong}.items()}
        write_checkpoint(tmp_path / "x.safetensors", sources, {})
        other: Any = FAMILY.load(Checkpoint(tmp_path / "x.safetensors"), pick_precision())
        with pytest.raises(AssertionError):
            test_the_transformer_answers_as_diffusers_own(other, parts)

    check_each(cases, check)


def test_latents_and_pictures_are_diffusers_own(model: Any, parts: dict[str, Any]) -> None:
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        place = parts["vae"].encode(pixels).latent_dist
        mean, deviation = model.encode_images(pixels)
        torch.testing.assert_close(mean, (place.mean - 0.1159) * 0.3611, atol=1e-4, rtol=0)
        torch.testing.assert_close(deviation, place.std * 0.3611, atol=1e-4, rtol=0)
        decoded = parts["vae"].decode(mean / 0.3611 + 0.1159).sample
    images = model.decode_latents(mean)
    wanted = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).to(torch.uint8)
    assert [list(image.tobytes()) for image in images] == [list(one.flatten().tolist()) for one in wanted]
    assert model.latent_shape(32) == (CHANNELS, 16, 16)


def test_tokens_are_comfyuis() -> None:
    from clora_ext.families.flow.text import load_reading

    reading = load_reading(family_data("z_image")["text"])
    assert reading.asked("a dog") == [151644, 872, 198, 64, 5562, 151645, 198, 151644, 77091, 198]
    assert len(captions()) == 202
    numbers = [reading._all(caption) for caption in captions()]
    assert sha256(json.dumps(numbers).encode()).hexdigest() == TOKENS
    words = {"dog": 1, "kitten": 1, "backpack": 1, "sks": 2, "corgi": 3}
    assert {word: len(reading.plain(word)) for word in words} == words
    assert FAMILY.reader(Header({}))("dog") == reading.plain("dog") == [5562]
    assert [reading.cut(text) for text in ("a dog", "猫" * 600)] == [0, 608 - 512]
    assert FAMILY.tokens_cut(Header({}), "猫" * 600, None) == 608 - 512  # type: ignore[arg-type]


def pipeline(model: Any, parts: dict[str, Any]) -> ZImagePipeline:
    """diffusers' own, with the model's tokenizer."""
    made = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=parts["vae"],
        text_encoder=parts["text_encoder"], tokenizer=model.text.reading.tokenizer,
        transformer=parts["transformer"],
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def test_texts_are_read_as_diffusers_reads_them(model: Any, parts: dict[str, Any]) -> None:
    texts = ["a photo of sks dog", "猫が窓辺で眠っている 🌙", "", "a dog and a cat, " * 200]
    with torch.no_grad():
        wanted, _ = pipeline(model, parts).encode_prompt(list(texts), do_classifier_free_guidance=False)
        found = model.condition(texts, [])
        alone = model.collate([model.condition([text], []) for text in texts])
    assert [len(one) for one in wanted] == [int(length) for length in found["mask"].sum(1)]
    assert max(map(len, wanted)) == 512
    for number, states in enumerate(wanted):
        torch.testing.assert_close(found["states"][number, : len(states)], states, atol=1e-5, rtol=0)
    assert all(torch.equal(found[name], alone[name]) for name in found)


def test_pictures_are_drawn_as_diffusers_draws_them(model: Any, parts: dict[str, Any]) -> None:
    steps = 4
    images = model.sample("a dog", negative="blurry", seeds=[3], steps=steps, guidance=4.0, size=(32, 16))
    drawn = pipeline(model, parts)(
        "a dog", negative_prompt="blurry", height=16, width=32, num_inference_steps=steps,
        sigmas=[1 - step / steps for step in range(steps)], guidance_scale=3.0,  # diffusers counts from 0
        generator=torch.Generator().manual_seed(3),
    ).images  # fmt: skip
    assert images[0].size == drawn[0].size == (32, 16)
    assert max(abs(a - b) for a, b in zip(images[0].tobytes(), drawn[0].tobytes(), strict=True)) <= 1


def test_a_device_without_bfloat16_is_refused(everything: Path) -> None:
    half = Precision(torch.device("cpu"), torch.float16, "")
    with pytest.raises(UsageError, match="float16"):
        FAMILY.load(Checkpoint(everything), half)
