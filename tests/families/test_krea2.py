"""Krea 2 in memory: it answers, reads, encodes and draws as diffusers does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel
from diffusers.models.transformers.transformer_krea2 import Krea2RMSNorm
from tiny_flow import ANIMA_CHANNELS, modules, write_everything
from torch import nn
from transformers import Qwen3VLTextConfig, Qwen3VLTextModel

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.families.family_data import family_data
from clora_ext.families.flow.norms import widen_norms
from clora_ext.families.latent.filling import fill
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
from clora_ext.formats.flow_keys import FLOW_PREFIX, krea2_table
from clora_ext.formats.header import Header

KIND = "krea2"
FAMILY = families.load(KIND)
TEXTS = ["a dog", "a very long caption about a dog " * 8]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_everything(
        tmp_path_factory.mktemp("flow") / "all.safetensors", dtype=torch.float32, kind=KIND
    )


@pytest.fixture(scope="module")
def model(everything: Path) -> Any:
    return FAMILY.load(Checkpoint(everything), pick_precision())


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return {name: part.eval() for name, part in modules(kind=KIND).items()}


@pytest.fixture(scope="module")
def pipeline(model: Any, parts: dict[str, Any]) -> Krea2Pipeline:
    """diffusers' own, with the model's tokenizer."""
    reads = parts["text_encoder"].config
    names = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "rms_norm_eps",
    )  # fmt: skip
    config = {name: getattr(reads, name) for name in names}
    half = Qwen3VLTextModel(
        Qwen3VLTextConfig(**config, rope_parameters={"rope_theta": 5e6, "rope_type": "default"})
    )
    half.load_state_dict(parts["text_encoder"].state_dict())
    made = Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**family_data(KIND)["scheduler"]), vae=parts["vae"],
        text_encoder=half.eval(), tokenizer=model.text.reading.tokenizer, transformer=parts["transformer"],
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def test_the_transformer_answers_as_diffusers_own(model: Any, pipeline: Krea2Pipeline) -> None:
    rng = torch.Generator().manual_seed(1)
    times = torch.tensor([0.2, 0.9])
    with torch.no_grad():
        condition = model.condition(TEXTS, [])
        for height, width in [(4, 4), (6, 10)]:
            latents = torch.randn(2, ANIMA_CHANNELS, height, width, generator=rng)
            answer = model.predict(latents, times, condition)
            for number in range(2):  # each alone, without what the shorter text is padded with
                length = int(condition["mask"][number].sum())
                states = condition["states"][number : number + 1, :length].unflatten(2, (12, -1))
                packed = pipeline._pack_latents(latents[number : number + 1], 1, 16, height, width)
                wanted = pipeline.transformer(
                    hidden_states=packed, timestep=times[number : number + 1], encoder_hidden_states=states,
                    position_ids=Krea2Pipeline.prepare_position_ids(length, height // 2, width // 2, "cpu"),
                ).sample[0]  # fmt: skip
                whole = pipeline._unpack_latents(wanted[None], height * 2, width * 2)  # its VAE halves
                torch.testing.assert_close(answer[number], whole[0, :, 0], atol=5e-5, rtol=0)


def test_parts_in_the_wrong_place_are_noticed(
    everything: Path, model: Any, pipeline: Krea2Pipeline, tmp_path: Path
) -> None:
    """Values for keys, the gate for what is asked, or two rows of a table exchanged: the test above fails."""
    stored = Checkpoint(everything)
    whole = {name: stored.read(name) for name in stored.names if name.startswith(FLOW_PREFIX)}
    config: Any = FAMILY.config(stored.header, everything)  # type: ignore[attr-defined]
    flat = whole[f"{FLOW_PREFIX}blocks.1.mod.lin"].chunk(6)
    cases = [
        {"blocks.0.attn.wk.weight": "blocks.0.attn.wv.weight"},
        {"blocks.1.attn.gate.weight": "blocks.1.attn.wq.weight"},
        {"blocks.1.mlp.gate.weight": "blocks.1.mlp.up.weight"},
        {"txtfusion.refiner_blocks.0.prenorm.scale": "txtfusion.refiner_blocks.0.postnorm.scale"},
        {"blocks.1.mod.lin": torch.cat([flat[place] for place in (1, 0, 2, 3, 4, 5)])},
        {"last.modulation.lin": whole[f"{FLOW_PREFIX}last.modulation.lin"].flip(0)},
    ]

    def check(case: dict[str, Any]) -> None:
        ((name, other),) = case.items()
        wrong = whole[FLOW_PREFIX + other] if isinstance(other, str) else other
        sources = {key: Source.of(one) for key, one in {**whole, FLOW_PREFIX + name: wrong}.items()}
        write_checkpoint(tmp_path / "x.safetensors", sources, {})
        changed = Checkpoint(tmp_path / "x.safetensors")
        with torch.device("meta"):
            empty = Krea2Transformer2DModel.from_config(config["transformer"])
        network = fill(empty, krea2_table(config["transformer"]), changed, {}, torch.float32)
        with pytest.raises(AssertionError):
            test_the_transformer_answers_as_diffusers_own(replace(model, denoiser=network), pipeline)

    check_each(cases, check)


def test_norms_add_one_in_float32_whatever_their_weights_are_kept_in() -> None:
    """As diffusers does, which keeps these weights in float32: in bfloat16 one and 0.001 are one."""
    norm = Krea2RMSNorm(8)
    nn.init.constant_(norm.weight, 0.001)
    states = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    wanted = norm(states)
    network = nn.Sequential(norm).bfloat16()
    widen_norms(network)
    torch.testing.assert_close(network(states), wanted, atol=1e-5, rtol=0)
    assert network(states.bfloat16()).dtype == torch.bfloat16


def test_tokens_stand_in_the_authors_template_whose_beginning_does_not_count(model: Any) -> None:
    reading = model.text.reading
    asked = reading.asked("a dog")
    assert len(asked) == 34 + 2 + 5
    assert reading.tokenizer.decode(asked[34:]) == "a dog<|im_end|>\n<|im_start|>assistant\n"
    long = "猫" * 600
    cut = reading.asked(long)
    assert len(cut) == 34 + 512
    assert cut[-5:] == asked[-5:]
    assert FAMILY.tokens_cut(Header({}), long, None) == 600 + 5 - 512  # type: ignore[arg-type]


def test_texts_are_read_as_diffusers_reads_them(model: Any, pipeline: Krea2Pipeline) -> None:
    """Which fills up before the template's end, and sees nothing of it; long texts are cut there."""
    texts = ["a photo of sks dog", "猫が窓辺で眠っている 🌙", "", "a dog and a cat, " * 200]
    with torch.no_grad():
        wanted, seen = pipeline.encode_prompt(list(texts))
        found = [model.condition([text], []) for text in texts]
    for number, one in enumerate(found):
        states = wanted[number][seen[number]].flatten(1)
        torch.testing.assert_close(one["states"][0], states, atol=1e-5, rtol=0)
    both = model.collate(found)
    assert both["states"].shape == (4, 512, 12 * 24)
    assert both["mask"].sum(dim=1).tolist() == [int(one.sum()) for one in seen]


def test_latents_are_diffusers_own(model: Any, parts: dict[str, Any]) -> None:
    pixels = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        mean, deviation = model.encode_images(pixels)
        own = parts["vae"].encode(pixels.unsqueeze(2)).latent_dist
    centre, spread = (
        torch.tensor(parts["vae"].config[name]).reshape(1, -1, 1, 1)
        for name in ("latents_mean", "latents_std")
    )
    torch.testing.assert_close(mean, (own.mean.squeeze(2) - centre) / spread, atol=1e-4, rtol=0)
    torch.testing.assert_close(deviation, own.std.squeeze(2) / spread, atol=1e-4, rtol=0)


def test_pictures_are_drawn_as_diffusers_draws_them(model: Any, pipeline: Krea2Pipeline) -> None:
    """Whose guidance is one less."""
    images = model.sample("a dog", negative="", seeds=[3], steps=3, guidance=4.0, size=(32, 16))
    drawn = pipeline(
        prompt="a dog", height=16, width=32, num_inference_steps=3, guidance_scale=3.0,
        generator=torch.Generator().manual_seed(3),
    ).images  # fmt: skip
    assert images[0].size == drawn[0].size == (32, 16)
    assert max(abs(a - b) for a, b in zip(images[0].tobytes(), drawn[0].tobytes(), strict=True)) <= 1
