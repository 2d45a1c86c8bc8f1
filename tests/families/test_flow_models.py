"""Models of flow matching in memory: they answer, read, encode and draw as diffusers does."""

import json
from copy import deepcopy
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import FlowMatchEulerDiscreteScheduler
from flow_captions import captions
from flow_families import FLOW_FAMILIES, family_id
from flow_family import FlowFamily, Order
from tiny_flow import modules, write_everything

from clora_ext import families
from clora_ext.config.precision import Precision, pick_precision
from clora_ext.errors import UsageError
from clora_ext.families.family_data import family_data
from clora_ext.families.flow.modules import builders
from clora_ext.families.flow.text import load_reading
from clora_ext.families.latent.filling import fill
from clora_ext.families.latent.modules import empty_module
from clora_ext.families.variant import tell_variant
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
from clora_ext.formats.header import Header
from clora_ext.formats.models import model_header
from clora_ext.formats.statements import Statement

TEXTS = ["a photo of sks dog", "猫が窓辺で眠っている 🌙", "", "a dog and a cat, " * 200]


@pytest.fixture(scope="module", params=FLOW_FAMILIES, ids=family_id)
def family(request: pytest.FixtureRequest) -> FlowFamily:
    found: FlowFamily = request.param
    return found


@pytest.fixture(scope="module")
def everything(family: FlowFamily, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("flow") / "all.safetensors"
    return write_everything(file, dtype=torch.float32, kind=family.name)


@pytest.fixture(scope="module")
def model(family: FlowFamily, everything: Path) -> Any:
    return families.load(family.name).load(Checkpoint(everything), pick_precision())


@pytest.fixture(scope="module")
def parts(family: FlowFamily) -> dict[str, Any]:
    return {name: part.eval() for name, part in modules(kind=family.name).items()}


@pytest.fixture(scope="module")
def pipeline(family: FlowFamily, model: Any, parts: dict[str, Any]) -> Any:
    """diffusers' own, with the model's tokenizer."""
    scheduler = FlowMatchEulerDiscreteScheduler(**family.own.scheduler)
    made = family.own.pipeline(scheduler=scheduler, tokenizer=model.text.reading.tokenizer, **parts)
    made.set_progress_bar_config(disable=True)
    return made


def check_answers(family: FlowFamily, model: Any, parts: dict[str, Any]) -> None:
    rng = torch.Generator().manual_seed(1)
    times = torch.tensor([0.2, 0.9])
    channels = family.own.latent_shape[0]
    with torch.no_grad():
        condition = model.condition(["a dog", "a very long caption about a dog " * 8], [])
        for height, width in family.own.sizes:
            latents = torch.randn(2, channels, height, width, generator=rng)
            wanted = family.own.answer(parts, latents, times, condition)
            torch.testing.assert_close(model.predict(latents, times, condition), wanted, atol=5e-5, rtol=0)


@pytest.mark.long
def test_the_transformer_answers_as_diffusers_own(
    family: FlowFamily, model: Any, parts: dict[str, Any]
) -> None:
    check_answers(family, model, parts)


def test_parts_in_the_wrong_place_are_noticed(
    family: FlowFamily, model: Any, everything: Path, parts: dict[str, Any], tmp_path: Path
) -> None:
    """Queries for keys, or halves exchanged, where several parameters are one: the test above fails."""
    stored, loaded = Checkpoint(everything), families.load(family.name)
    config: Any = loaded.config(stored.header, everything)
    build, tables = builders(loaded, config), loaded.tables(config)  # type: ignore[arg-type]
    whole = {
        name: stored.read(name) for name in stored.names if name.startswith(tables["transformer"].prefix)
    }

    def filled(tensors: dict[str, torch.Tensor]) -> Any:
        """The model with a transformer of other tensors."""
        file = tmp_path / "x.safetensors"
        write_checkpoint(file, {key: Source.of(tensor) for key, tensor in tensors.items()}, {})
        empty = empty_module(build["transformer"], "transformer", file)
        network = fill(empty, tables["transformer"], Checkpoint(file), {}, torch.float32)
        return replace(model, denoiser=network.eval())

    def check(case: dict[str, tuple[str, Order]]) -> None:
        wrong = {}
        for name, (source, order) in case.items():
            chunks = whole[source].chunk(len(order))
            wrong[name] = torch.cat([chunks[place] for place in order])
        with pytest.raises(AssertionError):
            check_answers(family, filled({**whole, **wrong}), parts)

    check_answers(family, filled(whole), parts)
    check_each(family.own.misplaced, check)


def test_activations_that_are_computed_again_give_the_same_gradient(family: FlowFamily, model: Any) -> None:
    other = replace(model, denoiser=deepcopy(model.denoiser).train())
    layer = next(
        module
        for name, module in other.denoiser.named_modules()
        if family.blocks in f".{name}" and name.endswith("to_q")
    )
    calls: list[str] = []
    layer.register_forward_hook(lambda *_: calls.append("again"))
    condition = model.condition(["a dog"], [])
    (height, width), channels = family.own.sizes[0], family.own.latent_shape[0]

    def gradient() -> Any:
        latents = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(2))
        other.predict(latents.requires_grad_(), torch.tensor([0.4]), condition).square().sum().backward()
        return latents.grad

    plain = gradient()
    other.recompute_activations()
    assert torch.equal(gradient(), plain)
    assert plain.any()
    assert len(calls) == 1 + 2


def test_latents_and_pictures_are_diffusers_own(family: FlowFamily, model: Any, pipeline: Any) -> None:
    pixels = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        mean, deviation = model.encode_images(pixels)
        wanted, spread = family.own.latents(pipeline, pixels)
        painted = torch.cat([family.own.painted(pipeline, one[None]) for one in mean])
    torch.testing.assert_close(mean, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(deviation, spread, atol=1e-4, rtol=0)
    shown = ((painted / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).to(torch.uint8)
    images = model.decode_latents(mean)
    assert [list(image.tobytes()) for image in images] == [one.flatten().tolist() for one in shown]
    assert model.latent_shape(32) == family.own.latent_shape
    assert tuple(model.encode_images(torch.zeros(1, 3, 32, 32))[0].shape[1:]) == family.own.latent_shape


def test_tokens_are_comfyuis(family: FlowFamily) -> None:
    reading, loaded = load_reading(family_data(family.name)["text"]), families.load(family.name)
    assert reading.asked("a dog") == family.own.asked
    assert len(captions()) == 202
    numbers = [reading._all(caption) for caption in captions()]
    assert sha256(json.dumps(numbers).encode()).hexdigest() == family.own.tokens
    words = {"dog": 1, "kitten": 1, "backpack": 1, "sks": 2, "corgi": 3}
    assert {word: len(reading.plain(word)) for word in words} == words
    assert loaded.reader(Header({}))("dog") == reading.plain("dog") == [5562]
    assert [reading.cut(text) for text in ("a dog", "猫" * 600)] == [0, family.own.cut]
    assert loaded.tokens_cut(Header({}), "猫" * 600, None) == family.own.cut  # type: ignore[arg-type]


@pytest.mark.long
def test_texts_are_read_as_diffusers_reads_them(family: FlowFamily, model: Any, pipeline: Any) -> None:
    with torch.no_grad():
        wanted = family.own.states(pipeline, list(TEXTS))
        found = model.condition(TEXTS, [])
        alone = model.collate([model.condition([text], []) for text in TEXTS])
    assert [len(one) for one in wanted] == [int(length) for length in found["mask"].sum(1)]
    assert found["mask"].shape == (4, 512)
    for number, states in enumerate(wanted):
        torch.testing.assert_close(found["states"][number, : len(states)], states, atol=1e-5, rtol=0)
    assert all(torch.equal(found[name], alone[name]) for name in found)


@pytest.mark.long
@pytest.mark.parametrize("steps", [3, 6])
def test_pictures_are_drawn_as_diffusers_draws_them(
    family: FlowFamily, model: Any, pipeline: Any, steps: int
) -> None:
    negative = family.own.negative
    ours = model.sample("a dog", negative=negative, seeds=[3], steps=steps, guidance=4.0, size=(32, 16))[0]
    theirs = family.own.draw(pipeline, "a dog", negative, steps, 3, (32, 16))
    assert ours.size == theirs.size == (32, 16)
    assert max(abs(a - b) for a, b in zip(ours.tobytes(), theirs.tobytes(), strict=True)) <= 1


@pytest.mark.parametrize(
    "family", [one for one in FLOW_FAMILIES if one.own.distilled], indirect=True, ids=family_id
)
def test_a_distilled_model_is_drawn_with_and_saved_as_by_diffusers(
    family: FlowFamily, everything: Path, pipeline: Any, tmp_path: Path
) -> None:
    """Few steps are taken at other times, and whoever reads the folder is told."""
    assert family.own.distilled is not None
    name, guidance = family.own.distilled
    loaded = families.load(family.name)
    model = loaded.load(Checkpoint(everything, statements=(Statement("x", variant=name),)), pick_precision())
    pipeline.register_to_config(is_distilled=True)
    try:
        theirs = family.own.draw(pipeline, "a dog", family.own.negative, 4, 3, (32, 16))
    finally:
        pipeline.register_to_config(is_distilled=False)
    ours = model.sample(
        "a dog", negative=family.own.negative, seeds=[3], steps=4, guidance=guidance, size=(32, 16)
    )[0]
    assert max(abs(a - b) for a, b in zip(ours.tobytes(), theirs.tobytes(), strict=True)) <= 1
    folder = tmp_path / "folder"
    model.save(folder, dict.fromkeys(("denoiser", "text_encoder", "vae"), torch.float32))
    header = model_header(folder)
    told = tell_variant(loaded.title, loaded.variants, folder, header)
    assert told is not None
    assert (told.variant.name, told.source) == (name, "model_index.json")


def test_a_device_without_bfloat16_is_refused(family: FlowFamily, everything: Path) -> None:
    half = Precision(torch.device("cpu"), torch.float16, "")
    with pytest.raises(UsageError, match="float16"):
        families.load(family.name).load(Checkpoint(everything), half)
