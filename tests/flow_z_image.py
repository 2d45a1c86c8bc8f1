"""Z-Image, as its authors, diffusers and the programs that write LoRA files for it have it."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, ZImagePipeline, ZImageTransformer2DModel
from diffusers.loaders import ZImageLoraLoaderMixin
from flow_family import QWEN3_4B, FlowFamily, Loras, Own, Parts, Published, Shapes, Size, under
from published_files import published_shapes
from tiny_flow_kinds import CHANNELS
from torch import Tensor

from clora_ext.formats.flow_keys import FLOW_PREFIX


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16, sample_size=1024,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip


def _made_of_it() -> list[tuple[Shapes, str]]:
    shapes = published_shapes("z_image")
    return [
        ({**shapes, "siglip_embedder.0.weight": (1152,)}, "Omni"),
        ({**shapes, "dec_net.cond_embed.weight": (8, 8)}, "pixels"),
        ({name: shape for name, shape in shapes.items() if "pad_token" not in name}, "Lumina"),
    ]


PUBLISHED = Published(
    sizes=[
        Size(
            "z_image", "z-image", ("qwen_3_4b", "qwen3_4b"), ZImageTransformer2DModel, QWEN3_4B,
            (30 * 4, 30 * 7, 276),
        )
    ],
    vae=("ae", "flux1_vae", _vae),
    by_hand={
        "layers.7.attention.to_q.weight": ("layers.7.attention.qkv.weight", (0, 3)),
        "layers.7.attention.to_k.weight": ("layers.7.attention.qkv.weight", (1, 3)),
        "layers.7.attention.to_v.weight": ("layers.7.attention.qkv.weight", (2, 3)),
        "layers.7.attention.to_out.0.weight": ("layers.7.attention.out.weight", (0, 1)),
        "layers.7.attention.norm_q.weight": ("layers.7.attention.q_norm.weight", (0, 1)),
        "layers.7.attention.norm_k.weight": ("layers.7.attention.k_norm.weight", (0, 1)),
        "layers.7.feed_forward.w1.weight": ("layers.7.feed_forward.w1.weight", (0, 1)),
        "layers.7.feed_forward.w3.weight": ("layers.7.feed_forward.w3.weight", (0, 1)),
        "layers.7.ffn_norm1.weight": ("layers.7.ffn_norm1.weight", (0, 1)),
        "layers.7.ffn_norm2.weight": ("layers.7.ffn_norm2.weight", (0, 1)),
        "layers.7.attention_norm2.weight": ("layers.7.attention_norm2.weight", (0, 1)),
        "layers.7.adaLN_modulation.0.bias": ("layers.7.adaLN_modulation.0.bias", (0, 1)),
        "context_refiner.1.attention.to_k.weight": ("context_refiner.1.attention.qkv.weight", (1, 3)),
        "noise_refiner.0.adaLN_modulation.0.weight": ("noise_refiner.0.adaLN_modulation.0.weight", (0, 1)),
        "all_x_embedder.2-1.bias": ("x_embedder.bias", (0, 1)),
        "all_final_layer.2-1.linear.weight": ("final_layer.linear.weight", (0, 1)),
        "all_final_layer.2-1.adaLN_modulation.1.weight": ("final_layer.adaLN_modulation.1.weight", (0, 1)),
        "cap_embedder.1.weight": ("cap_embedder.1.weight", (0, 1)),
        "t_embedder.mlp.2.weight": ("t_embedder.mlp.2.weight", (0, 1)),
        "x_pad_token": ("x_pad_token", (0, 1)),
    },
    swapped=[],
    cut=("layers.3.attention.to_k", (3840, 7680), (3840, 3840), "layers.3.attention.qkv"),
    relatives={
        "flux1_dev": "Flux", "chroma": "Flux", "sd35_medium": "Stable Diffusion 3",
        "qwen_image": "Qwen-Image", "qwen3_4b": "text encoder", "flux1_vae": "VAE",
    },
    made_of_it=_made_of_it,
    variants=[
        ("z_image_turbo_bf16", "turbo", True), ("z-image-Turbo", "turbo", True),
        ("z_image_bf16", "base", False), ("z_image_base", "base", True),
        ("z_image_de_turbo_v1", "base", False), ("Z-Image-DeTurbo", "base", False),
    ],
    advised=(
        ["as its name z_image_turbo_bf16.safetensors says: teaching undoes", "clora export --lora"],
        {"sample_steps": 8, "guidance": 1.0},
    ),
)  # fmt: skip


def _answer(parts: Parts, latents: Tensor, times: Tensor, condition: Any) -> Tensor:
    lengths = [int(length) for length in condition["mask"].sum(1)]
    found = [
        parts["transformer"](
            [latents[n].unsqueeze(1)], 1 - times[n : n + 1], [condition["states"][n, : lengths[n]]]
        ).sample[0]
        for n in range(len(latents))
    ]
    return -torch.stack(found).squeeze(2)


def _latents(pipeline: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    place = pipeline.vae.encode(pixels).latent_dist
    return (place.mean - 0.1159) * 0.3611, place.std * 0.3611


def _painted(pipeline: Any, latents: Tensor) -> Tensor:
    found: Tensor = pipeline.vae.decode(latents / 0.3611 + 0.1159).sample
    return found


def _states(pipeline: Any, texts: list[str]) -> Sequence[Tensor]:
    found: list[Tensor] = pipeline.encode_prompt(texts, do_classifier_free_guidance=False)[0]
    return found


def _draw(pipeline: Any, prompt: str, negative: str, steps: int, seed: int, size: tuple[int, int]) -> Any:
    """diffusers counts guidance from 0 here, and its last step ends before the picture unless it is told."""
    return pipeline(
        prompt, negative_prompt=negative, width=size[0], height=size[1], num_inference_steps=steps,
        sigmas=[1 - step / steps for step in range(steps)], guidance_scale=3.0,
        generator=torch.Generator().manual_seed(seed),
    ).images[0]  # fmt: skip


_BLOCK = f"{FLOW_PREFIX}layers.0"
OWN = Own(
    pipeline=ZImagePipeline,
    scheduler={"shift": 3.0},
    sizes=[(8, 8), (6, 10)],
    latent_shape=(CHANNELS, 16, 16),
    answer=_answer,
    misplaced=[
        {f"{_BLOCK}.attention.qkv.weight": (f"{_BLOCK}.attention.qkv.weight", (1, 0, 2))},
        {
            f"{_BLOCK}.feed_forward.w1.weight": (f"{_BLOCK}.feed_forward.w3.weight", (0,)),
            f"{_BLOCK}.feed_forward.w3.weight": (f"{_BLOCK}.feed_forward.w1.weight", (0,)),
        },
    ],
    latents=_latents,
    painted=_painted,
    asked=[151644, 872, 198, 64, 5562, 151645, 198, 151644, 77091, 198],
    tokens="b08e1cb1dc486967f1ba3fb8d1c83a37620dd97c74a69174e324bccbc33638e1",
    cut=608 - 512,
    states=_states,
    draw=_draw,
    negative="blurry",
)

# By hand, from files of the programs; the last but one ending is of the factor that reads.
LORAS = Loras(
    dialects={
        "ai-toolkit": ("comfyui", lambda site: f"diffusion_model.{site.module}.lora_"),
        "diffusers": ("diffusers", lambda site: f"transformer.{site.module}.lora_"),
        "PEFT": ("diffusers", lambda site: f"base_model.model.{site.module}.lora_"),
        "musubi-tuner": ("kohya", lambda site: f"lora_unet_{under(site.module)}.lora_"),
        "OneTrainer": ("onetrainer", lambda site: f"lora_transformer_{under(site.module)}.lora_"),
    },
    fused={
        "sd-scripts": ("kohya", lambda site: f"lora_unet_{under(site.original)}.lora_"),
        "ComfyUI": ("comfyui", lambda site: f"diffusion_model.{site.original}.lora_"),
    },
    others=[],
    thirds=[("to_q",), ("to_k",), ("to_v",)],
    whole=("lora_unet_layers_29_attention_qkv", "kohya", (11520, 3840)),
    mixed=("ai-toolkit", "ComfyUI"),
    strange=[("lora_unet_double_blocks_0_img_attn_qkv", (8, 8), "for Flux, the model is Z-Image")],
    written="comfyui",
    stem="diffusion_model.",
    parts=("lora_A.weight", "lora_B.weight", "alpha"),
    known="diffusion_model.layers.0.attention.to_out.0.lora_A.weight",
    loader=ZImageLoraLoaderMixin,
)

Z_IMAGE = FlowFamily(
    "z_image",
    blocks=".layers.",
    tiny=2 * 7,
    taught=frozenset(
        ["attention.qkv", "attention.out", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3"]
    ),
    published=PUBLISHED,
    own=OWN,
    loras=LORAS,
)
