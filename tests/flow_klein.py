"""Flux.2 klein, as its authors, diffusers and the programs that write LoRA files for it have it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel
from diffusers.loaders import Flux2LoraLoaderMixin
from flow_family import (
    QWEN3_4B,
    QWEN3_8B,
    FlowFamily,
    Loras,
    Order,
    Own,
    Parts,
    Published,
    Shapes,
    Size,
    under,
)
from published_files import published_shapes
from tiny_flow_kinds import CHANNELS
from torch import Tensor, nn

from clora_ext.formats.flow_keys import FLOW_PREFIX


def _transformer(**sides: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        found: nn.Module = Flux2Transformer2DModel(guidance_embeds=False, **sides)  # type: ignore[arg-type]
        return found

    return make


def _made_of_it() -> list[tuple[Shapes, str]]:
    return [({**published_shapes("flux2_klein_4b"), "img_in.weight": (3072, 260)}, "edits pictures")]


PUBLISHED = Published(
    sizes=[
        Size(
            "flux2_klein_4b", "flux-2-klein-4b", ("qwen_3_4b", "qwen3_4b"),
            _transformer(
                num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=3 * 2560
            ),
            QWEN3_4B, (5 * 8 + 20 * 2, 5 * 12 + 20 * 2, 109),
        ),
        Size(
            "flux2_klein_9b", "flux-2-klein-9b", ("qwen_3_8b", "qwen3_8b"),
            _transformer(
                num_layers=8, num_single_layers=24, num_attention_heads=32, joint_attention_dim=3 * 4096
            ),
            QWEN3_8B, (8 * 8 + 24 * 2, 8 * 12 + 24 * 2, 153),
        ),
    ],
    vae=("flux2-vae", "flux2_vae", AutoencoderKLFlux2),
    by_hand={
        "transformer_blocks.4.attn.to_q.weight": ("double_blocks.4.img_attn.qkv.weight", (0, 3)),
        "transformer_blocks.4.attn.to_k.weight": ("double_blocks.4.img_attn.qkv.weight", (1, 3)),
        "transformer_blocks.4.attn.add_v_proj.weight": ("double_blocks.4.txt_attn.qkv.weight", (2, 3)),
        "transformer_blocks.4.attn.to_out.0.weight": ("double_blocks.4.img_attn.proj.weight", (0, 1)),
        "transformer_blocks.4.attn.to_add_out.weight": ("double_blocks.4.txt_attn.proj.weight", (0, 1)),
        "transformer_blocks.4.attn.norm_q.weight": ("double_blocks.4.img_attn.norm.query_norm.scale", (0, 1)),
        "transformer_blocks.4.attn.norm_added_k.weight": (
            "double_blocks.4.txt_attn.norm.key_norm.scale", (0, 1),
        ),
        "transformer_blocks.4.ff.linear_in.weight": ("double_blocks.4.img_mlp.0.weight", (0, 1)),
        "transformer_blocks.4.ff_context.linear_out.weight": ("double_blocks.4.txt_mlp.2.weight", (0, 1)),
        "single_transformer_blocks.19.attn.to_qkv_mlp_proj.weight": (
            "single_blocks.19.linear1.weight", (0, 1),
        ),
        "single_transformer_blocks.19.attn.to_out.weight": ("single_blocks.19.linear2.weight", (0, 1)),
        "single_transformer_blocks.19.attn.norm_k.weight": ("single_blocks.19.norm.key_norm.scale", (0, 1)),
        "x_embedder.weight": ("img_in.weight", (0, 1)),
        "context_embedder.weight": ("txt_in.weight", (0, 1)),
        "proj_out.weight": ("final_layer.linear.weight", (0, 1)),
        "norm_out.linear.weight": ("final_layer.adaLN_modulation.1.weight", (0, 1)),
        "time_guidance_embed.timestep_embedder.linear_2.weight": ("time_in.out_layer.weight", (0, 1)),
        "single_stream_modulation.linear.weight": ("single_stream_modulation.lin.weight", (0, 1)),
    },
    swapped=["norm_out.linear.weight"],
    cut=(
        "transformer_blocks.3.attn.add_k_proj", (3072, 6144), (3072, 3072), "double_blocks.3.txt_attn.qkv",
    ),
    relatives={"flux2_dev": r"Flux\.2 dev", "flux1_dev": "Flux 1", "chroma": "Flux 1"},
    made_of_it=_made_of_it,
    variants=[
        ("flux-2-klein-4b", "distilled", True), ("flux-2-klein-base-4b", "base", True),
        ("Flux2_Klein_9B_kv", "kv", True), ("my_model", "base", False),
    ],
    advised=(["klein base"], {"sample_steps": 4, "guidance": 1.0}),
)  # fmt: skip


def _answer(parts: Parts, latents: Tensor, times: Tensor, condition: Any) -> Tensor:
    places = Flux2KleinPipeline._prepare_latent_ids(latents)
    found = parts["transformer"](
        hidden_states=Flux2KleinPipeline._pack_latents(latents), timestep=times, guidance=None,
        encoder_hidden_states=condition["states"], img_ids=places,
        txt_ids=Flux2KleinPipeline._prepare_text_ids(condition["states"]),
    ).sample  # fmt: skip
    answer: Tensor = Flux2KleinPipeline._unpack_latents_with_ids(found, places)
    return answer


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    mean, variance = (one.reshape(1, -1, 1, 1) for one in (vae.bn.running_mean, vae.bn.running_var))
    return mean, (variance + 1e-4).sqrt()


def _latents(pipeline: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    spread = pipeline._patchify_latents(pipeline.vae.encode(pixels).latent_dist.std)
    return pipeline._encode_vae_image(pixels, torch.Generator()), spread / _statistics(pipeline.vae)[1]


def _painted(pipeline: Any, latents: Tensor) -> Tensor:
    mean, spread = _statistics(pipeline.vae)
    found: Tensor = pipeline.vae.decode(pipeline._unpatchify_latents(latents * spread + mean)).sample
    return found


def _states(pipeline: Any, texts: list[str]) -> Sequence[Tensor]:
    found: Tensor = pipeline.encode_prompt(texts)[0]
    return list(found)


def _draw(pipeline: Any, prompt: str, negative: str, steps: int, seed: int, size: tuple[int, int]) -> Any:
    """It has no word for what is not to be drawn."""
    assert not negative
    return pipeline(
        prompt=prompt, width=size[0], height=size[1], num_inference_steps=steps, guidance_scale=4.0,
        generator=torch.Generator().manual_seed(seed),
    ).images[0]  # fmt: skip


def _misplaced(name: str, order: Order) -> dict[str, tuple[str, Order]]:
    return {FLOW_PREFIX + name: (FLOW_PREFIX + name, order)}


OWN = Own(
    pipeline=Flux2KleinPipeline,
    scheduler={
        "shift": 3.0, "use_dynamic_shifting": True, "base_image_seq_len": 256, "base_shift": 0.5,
        "max_image_seq_len": 4096, "max_shift": 1.15,
    },
    sizes=[(4, 4), (3, 6)],
    latent_shape=(4 * CHANNELS, 8, 8),
    answer=_answer,
    misplaced=[
        _misplaced("double_blocks.0.img_attn.qkv.weight", (1, 0, 2)),
        _misplaced("double_blocks.1.txt_attn.qkv.weight", (0, 2, 1)),
        _misplaced("double_blocks.0.img_mlp.0.weight", (1, 0)),
        _misplaced("single_blocks.1.linear1.weight", (1, 0, 2, 3, 4, 5, 6, 7, 8)),
        _misplaced("single_blocks.0.linear1.weight", (0, 1, 2, 6, 7, 8, 3, 4, 5)),
        _misplaced("final_layer.adaLN_modulation.1.weight", (1, 0)),
        _misplaced("double_stream_modulation_img.lin.weight", (1, 0, 2, 3, 4, 5)),
    ],
    latents=_latents,
    painted=_painted,
    asked=[
        151644, 872, 198, 64, 5562, 151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271,
    ],
    tokens="74bbd7a15ed5e3e1263070400d12f88dd5a01e5bedd47844b753406151da49a9",
    cut=612 - 512,
    states=_states,
    draw=_draw,
    negative="",
    distilled=("distilled", 1.0),
)  # fmt: skip

# By hand, from the programs' own converters; the last but one ending is of the factor that reads.
LORAS = Loras(
    dialects={
        "diffusers": ("diffusers", lambda site: f"transformer.{site.module}.lora_"),
        "PEFT": ("diffusers", lambda site: f"base_model.model.{site.module}.lora_"),
        "OneTrainer": ("onetrainer", lambda site: f"lora_transformer_{under(site.module)}.lora_"),
        "LyCORIS": ("kohya", lambda site: f"lycoris_{under(site.module)}.lora_"),
    },
    fused={
        "musubi-tuner": ("kohya", lambda site: f"lora_unet_{under(site.original)}.lora_"),
        "ai-toolkit": ("comfyui", lambda site: f"diffusion_model.{site.original}.lora_"),
    },
    others=["final_layer.adaLN_modulation.1"],
    thirds=[("to_q", "add_q_proj"), ("to_k", "add_k_proj"), ("to_v", "add_v_proj")],
    whole=("lora_unet_double_blocks_4_txt_attn_qkv", "kohya", (9216, 3072)),
    mixed=("LyCORIS", "musubi-tuner"),
    strange=[
        ("diffusion_model.layers.0.attention.qkv", (96, 32), "for Z-Image, the model is Flux.2"),
        ("diffusion_model.double_blocks.0.img_mod.lin", (192, 32), "for Flux 1, the model is Flux.2"),
        ("diffusion_model.single_blocks.0.linear1", (7 * 32, 32), "for Flux 1, the model is Flux.2"),
        ("diffusion_model.single_blocks.0.linear1", (9 * 48, 48), "do not fit"),
    ],
    written="diffusers",
    stem="transformer.",
    parts=("lora_A.weight", "lora_B.weight"),
    known="transformer.transformer_blocks.0.attn.to_out.0.lora_A.weight",
    loader=Flux2LoraLoaderMixin,
)

KLEIN = FlowFamily(
    "flux2_klein_4b",
    blocks="transformer_blocks.",
    tiny=2 * 12 + 2 * 2,
    taught=frozenset(
        [f"{side}_{part}" for side in ("img", "txt") for part in ("attn.qkv", "attn.proj", "mlp.0", "mlp.2")]
        + ["linear1", "linear2"]
    ),
    published=PUBLISHED,
    own=OWN,
    loras=LORAS,
)
