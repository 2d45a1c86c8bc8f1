"""What Anima alone asks: T5's tokens of a caption, and the network that is asked about each of them."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from cases import check_each
from diffusers import AnimaAutoBlocks, CosmosTransformer3DModel
from flow_captions import captions
from lora_sites import random_factors
from safetensors.torch import load_file, save_file
from tiny_flow import FlowFiles, modules, write_everything, write_tiny_flow

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.errors import CheckpointError
from clora_ext.families.family_data import family_data
from clora_ext.families.flow.text import load_reading
from clora_ext.families.place import find_place
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.writer import write_lora
from clora_ext.formats.models import model_header

FAMILY = families.load("anima")
# Of ComfyUI 0.33's tokenizer: sha256 of all numbers as JSON.
WORDS = "56210bae5c05d69fd8aafce5b9a5f1b6de8d0942eff7988c7a8f16de76c71d41"
ADAPTER = "llm_adapter.blocks.1"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_everything(
        tmp_path_factory.mktemp("anima") / "all.safetensors", dtype=torch.float32, kind="anima"
    )


@pytest.fixture(scope="module")
def model(everything: Path) -> Any:
    return FAMILY.load(Checkpoint(everything), pick_precision())


@pytest.fixture
def files(tmp_path: Path) -> FlowFiles:
    return write_tiny_flow(tmp_path / "models", kind="anima", dtype=torch.float32, prefix="net.")


def test_words_are_comfyuis_and_end_where_they_are_cut() -> None:
    reading = load_reading(family_data("anima")["text"])
    assert sha256(json.dumps([reading._all_words(one) for one in captions()]).encode()).hexdigest() == WORDS
    long = "a dog, " * 300
    assert reading.asked_words(long) == [*reading._all_words(long)[:511], 1]
    assert reading.cut(long) == 1201 - 512  # of Qwen's there are 901
    assert (reading.asked(""), reading.asked_words("")) == ([151643], [1])
    assert load_reading(family_data("z_image")["text"]).words is None


def test_nothing_but_zeros_stands_behind_a_caption(model: Any) -> None:
    """So what captions beside it say changes nothing."""
    latents = torch.randn(2, *model.latent_shape(32), generator=torch.Generator().manual_seed(0))
    texts, times = ["a dog", "a very long caption about a dog, " * 6], torch.tensor([0.3, 0.7])
    with torch.no_grad():
        both = model.predict(latents, times, model.condition(texts, []))
        alone = [
            model.predict(latents[n : n + 1], times[n : n + 1], model.condition([texts[n]], []))
            for n in range(2)
        ]
        other = model.predict(latents, times, model.condition(["a cat", texts[1]], []))
    torch.testing.assert_close(both, torch.cat(alone), atol=1e-5, rtol=0)
    assert float((other[0] - both[0]).abs().max()) > 1e-3
    torch.testing.assert_close(other[1], both[1])


def test_the_network_that_reads_lies_with_the_transformer(files: FlowFiles, tmp_path: Path) -> None:
    """Its own tensors in another's place change what is read; without them the file is another model's."""
    place = find_place(files.transformer, {})
    plain = FAMILY.load(place.open(), pick_precision()).condition(["a dog"], [])["states"]
    stored = load_file(files.transformer)
    parts = ("self_attn.q_proj", "self_attn.k_proj", "cross_attn.q_proj", "cross_attn.o_proj")

    def check(case: tuple[str, str]) -> None:
        one, other = (f"net.{ADAPTER}.{name}.weight" for name in case)
        save_file({**stored, one: stored[other].clone()}, files.transformer)
        found = FAMILY.load(find_place(files.transformer, {}).open(), pick_precision())
        assert float((found.condition(["a dog"], [])["states"] - plain).abs().max()) > 1e-4

    check_each([(parts[0], parts[1]), (parts[2], parts[0]), (parts[3], parts[2])], check)
    save_file({name: one for name, one in stored.items() if ADAPTER not in name}, files.transformer)
    check_loading(files.transformer)  # of a layer fewer
    save_file({name: one for name, one in stored.items() if "llm_adapter" not in name}, files.transformer)
    with pytest.raises(CheckpointError, match="Anima without its text conditioner"):
        families.detect(find_place(files.transformer, {}).header(), files.transformer)


def check_loading(file: Path) -> None:
    found = find_place(file, {})
    FAMILY.check_loading(found.header(), found.path)


def test_parts_that_do_not_fit_one_another_are_said(files: FlowFiles) -> None:
    stored = load_file(files.transformer)
    norm, embed = f"net.{ADAPTER.replace('1', '0')}.cross_attn.q_norm.weight", "net.llm_adapter.embed.weight"
    cases = [
        ({norm: torch.ones(12)}, "heads of 12 do not fit the width 32"),
        ({embed: stored[embed][:32000].clone()}, "knows 32000 tokens, its tokenizer 32100"),
        ({"net.blocks.0.self_attn.q_norm.weight": torch.ones(15)}, "heads of 15 do not fit"),
    ]

    def check(case: tuple[dict[str, torch.Tensor], str]) -> None:
        save_file({**stored, **case[0]}, files.transformer)
        with pytest.raises(CheckpointError, match=case[1]):
            check_loading(files.transformer)

    check_each(cases, check)


def test_text_encoder_and_vae_of_other_models_do_not_fit(files: FlowFiles, tmp_path: Path) -> None:
    other = write_tiny_flow(tmp_path / "other")
    narrow = write_tiny_flow(tmp_path / "narrow", kind="anima")
    text = load_file(narrow.text_encoder)
    save_file(
        {name: one[..., :16].clone() if one.shape[-1] == 24 else one for name, one in text.items()},
        narrow.text_encoder,
    )
    cases = [
        ("text_encoder", narrow.text_encoder, "reads text of width 24"),
        ("vae", other.vae, "encoder.conv1"),
    ]

    def check(case: tuple[str, Path, str]) -> None:
        with pytest.raises(CheckpointError, match=case[2]):
            find_place(files.transformer, {case[0]: case[1]})

    check_each(cases, check)
    assert "anima" in find_place(files.transformer, {}).family


def test_a_vae_is_read_by_diffusers_names(files: FlowFiles, tmp_path: Path) -> None:
    modules(kind="anima")["vae"].save_pretrained(tmp_path / "vae")  # type: ignore[operator]
    other = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    found, wanted = (find_place(files.transformer, given).open() for given in ({"vae": other}, {}))
    assert set(found.names) == set(wanted.names)
    assert all(
        torch.equal(found.read(name), wanted.read(name)) for name in wanted.names if name.startswith("vae.")
    )


def test_a_diffusers_that_is_too_old_is_refused(files: FlowFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy: Any = type(diffusers)
    found = lazy.__getattr__

    def older(module: Any, name: str) -> Any:
        if name == "AnimaTextConditioner":
            raise AttributeError(name)
        return found(module, name)

    monkeypatch.delattr(diffusers, "AnimaTextConditioner")
    monkeypatch.setattr(lazy, "__getattr__", older)
    place = find_place(files.transformer, {})
    with pytest.raises(CheckpointError, match="Anima needs a diffusers"):
        FAMILY.load(place.open(), pick_precision())


def test_diffusers_takes_a_written_lora_whole(files: FlowFiles, tmp_path: Path) -> None:
    """Of names that do not say that they are a LoRA's, such as an alpha's, it refuses the file."""
    sites = [
        target.site
        for target in FAMILY.targets(model_header(files.transformer), "transformer", text_encoders=False)
    ]
    file = tmp_path / "x.safetensors"
    write_lora(file, random_factors(sites, rank=2, alpha=3.0), "anima", Details("x"))
    network: Any = CosmosTransformer3DModel.from_config(modules(kind="anima")["transformer"].config)
    pipeline: Any = AnimaAutoBlocks().init_pipeline()
    pipeline.update_components(transformer=network)
    pipeline.load_lora_weights(file)
    assert {
        name.removesuffix(".base_layer")
        for name, _ in network.named_modules()
        if name.endswith(".base_layer")
    } == {site.module for site in sites}


def test_what_reads_leaves_with_the_language_model(model: Any) -> None:
    other = replace(model, text=replace(model.text))
    assert [type(one).__name__ for one in other.text_encoders] == ["Qwen3Model", "AnimaTextConditioner"]
    assert set(other.parts) == {"transformer", "vae", "text_encoder", "text_conditioner"}
    assert {one.device.type for one in other.text.whole.parameters()} == {"cpu"}
    assert sum(p.numel() for p in other.text.whole.parameters()) == sum(
        p.numel() for one in other.text_encoders for p in one.parameters()
    )
