"""Krea 2, as its authors, diffusers and the programs that write LoRA files for it have it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKLQwenImage, Krea2Transformer2DModel
from diffusers.loaders import Krea2LoraLoaderMixin
from flow_family import QWEN3_4B, FlowFamily, Loras, Order, Own, Parts, Published, Shapes, Size, under
from published_files import published_shapes
from tiny_flow_kinds import ANIMA_CHANNELS
from torch import Tensor
from transformers import Qwen3VLTextConfig, Qwen3VLTextModel

from clora_ext.formats.flow_keys import FLOW_PREFIX

_READS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "rms_norm_eps",
)  # fmt: skip


def _made_of_it() -> list[tuple[Shapes, str]]:
    shapes = published_shapes("krea2")
    return [
        ({**shapes, "first.weight": (6144, 128)}, "edits pictures"),
        ({**shapes, "blocks.0.attn.wk.weight": (1000, 6144)}, "1000 rows of keys"),
    ]


PUBLISHED = Published(
    sizes=[
        Size(
            "krea2", "krea-2", ("qwen3vl_4b_bf16", "qwen3vl_4b"), Krea2Transformer2DModel,
            {**QWEN3_4B, "rope_theta": 5e6, "max_position_embeddings": 262144}, (28 * 5, 28 * 8, 264),
        )
    ],
    vae=("qwen_image_vae", "qwen_image_vae", AutoencoderKLQwenImage),
    by_hand={
        "transformer_blocks.27.attn.to_q.weight": ("blocks.27.attn.wq.weight", (0, 1)),
        "transformer_blocks.27.attn.to_k.weight": ("blocks.27.attn.wk.weight", (0, 1)),
        "transformer_blocks.27.attn.to_v.weight": ("blocks.27.attn.wv.weight", (0, 1)),
        "transformer_blocks.27.attn.to_gate.weight": ("blocks.27.attn.gate.weight", (0, 1)),
        "transformer_blocks.27.attn.to_out.0.weight": ("blocks.27.attn.wo.weight", (0, 1)),
        "transformer_blocks.0.attn.norm_k.weight": ("blocks.0.attn.qknorm.knorm.scale", (0, 1)),
        "transformer_blocks.0.ff.gate.weight": ("blocks.0.mlp.gate.weight", (0, 1)),
        "transformer_blocks.0.ff.up.weight": ("blocks.0.mlp.up.weight", (0, 1)),
        "transformer_blocks.0.norm2.weight": ("blocks.0.postnorm.scale", (0, 1)),
        "transformer_blocks.0.scale_shift_table": ("blocks.0.mod.lin", (0, 1)),
        "text_fusion.layerwise_blocks.1.ff.down.weight": (
            "txtfusion.layerwise_blocks.1.mlp.down.weight", (0, 1),
        ),
        "text_fusion.refiner_blocks.0.norm1.weight": ("txtfusion.refiner_blocks.0.prenorm.scale", (0, 1)),
        "text_fusion.projector.weight": ("txtfusion.projector.weight", (0, 1)),
        "txt_in.norm.weight": ("txtmlp.0.scale", (0, 1)),
        "txt_in.linear_2.bias": ("txtmlp.3.bias", (0, 1)),
        "img_in.weight": ("first.weight", (0, 1)),
        "time_embed.linear_2.weight": ("tmlp.2.weight", (0, 1)),
        "time_mod_proj.bias": ("tproj.1.bias", (0, 1)),
        "final_layer.scale_shift_table": ("last.modulation.lin", (0, 1)),
        "final_layer.linear.weight": ("last.linear.weight", (0, 1)),
    },
    swapped=[],
    cut=None,
    relatives={"qwen3vl_4b": "text encoder", "qwen_image_vae": "VAE"},
    made_of_it=_made_of_it,
    variants=[
        ("Krea-2-Turbo", "turbo", True), ("krea2_raw_bf16", "raw", True),
        ("krea2_turbo_drawings", "turbo", True), ("my_model", "raw", False),
    ],
    advised=(["Krea 2 Raw", "clora export --lora"], {"sample_steps": 8, "guidance": 1.0}),
)  # fmt: skip


class Krea2Pipeline:
    """diffusers' own, which asks the half of Qwen3-VL that reads words."""

    def __new__(cls, text_encoder: Any, **parts: Any) -> Any:
        """With the weights of a Qwen3."""
        config = {name: getattr(text_encoder.config, name) for name in _READS}
        turned = {"rope_theta": 5e6, "rope_type": "default"}
        with torch.device("meta"):
            half = Qwen3VLTextModel(Qwen3VLTextConfig(**config, rope_parameters=turned))
        half.load_state_dict(text_encoder.state_dict(), assign=True)
        half.rotary_emb = type(half.rotary_emb)(half.config)
        return diffusers.Krea2Pipeline(text_encoder=half.eval(), **parts)

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype) -> Any:
        """As whoever has such a folder loads it."""
        return diffusers.Krea2Pipeline.from_pretrained(folder, dtype=dtype)


def _answer(parts: Parts, latents: Tensor, times: Tensor, condition: Any) -> Tensor:
    """In squares of 2 x 2, as the pipeline packs them."""
    height, width = (side // 2 for side in latents.shape[-2:])
    states = condition["states"]
    squares = latents.unflatten(3, (width, 2)).unflatten(2, (height, 2)).permute(0, 2, 4, 1, 3, 5)
    found = parts["transformer"](
        hidden_states=squares.reshape(len(latents), height * width, -1), timestep=times,
        encoder_hidden_states=states.unflatten(2, (12, -1)),
        encoder_attention_mask=condition["mask"].bool(),
        position_ids=diffusers.Krea2Pipeline.prepare_position_ids(states.shape[1], height, width, "cpu"),  # type: ignore[arg-type]
    ).sample  # fmt: skip
    shaped: Tensor = found.reshape(len(latents), height, width, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return shaped.reshape(latents.shape)


def _scales(vae: Any) -> list[Tensor]:
    both = (vae.config.latents_mean, vae.config.latents_std)
    return [torch.tensor(one).reshape(1, -1, 1, 1) for one in both]


def _latents(pipeline: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    found, (mean, spread) = pipeline.vae.encode(pixels.unsqueeze(2)).latent_dist, _scales(pipeline.vae)
    return (found.mean.squeeze(2) - mean) / spread, found.std.squeeze(2) / spread


def _painted(pipeline: Any, latents: Tensor) -> Tensor:
    mean, spread = _scales(pipeline.vae)
    found: Tensor = pipeline.vae.decode((latents * spread + mean).unsqueeze(2)).sample
    return found.squeeze(2)


def _states(pipeline: Any, texts: list[str]) -> Sequence[Tensor]:
    """Without what is filled up before the template's end, which nothing sees."""
    found, seen = pipeline.encode_prompt(texts)
    return [one[mask].flatten(1) for one, mask in zip(found, seen, strict=True)]


def _draw(pipeline: Any, prompt: str, negative: str, steps: int, seed: int, size: tuple[int, int]) -> Any:
    """Its guidance is one less than others count."""
    return pipeline(
        prompt=prompt, negative_prompt=negative, width=size[0], height=size[1], num_inference_steps=steps,
        guidance_scale=3.0, generator=torch.Generator().manual_seed(seed),
    ).images[0]  # fmt: skip


def _exchanged(one: str, other: str) -> dict[str, tuple[str, Order]]:
    return {FLOW_PREFIX + one: (FLOW_PREFIX + other, (0,)), FLOW_PREFIX + other: (FLOW_PREFIX + one, (0,))}


def _turned(name: str, order: Order) -> dict[str, tuple[str, Order]]:
    return {FLOW_PREFIX + name: (FLOW_PREFIX + name, order)}


OWN = Own(
    pipeline=Krea2Pipeline,
    scheduler={
        "use_dynamic_shifting": True, "base_image_seq_len": 256, "base_shift": 0.5,
        "max_image_seq_len": 6400, "max_shift": 1.15,
    },
    sizes=[(4, 4), (6, 10)],
    latent_shape=(ANIMA_CHANNELS, 16, 16),
    answer=_answer,
    misplaced=[
        _exchanged("blocks.0.attn.wk.weight", "blocks.0.attn.wv.weight"),
        _exchanged("blocks.1.attn.gate.weight", "blocks.1.attn.wq.weight"),
        _exchanged("blocks.1.mlp.gate.weight", "blocks.1.mlp.up.weight"),
        _exchanged("blocks.0.attn.qknorm.qnorm.scale", "blocks.0.attn.qknorm.knorm.scale"),
        _exchanged("blocks.0.prenorm.scale", "blocks.0.postnorm.scale"),
        _exchanged(
            "txtfusion.layerwise_blocks.0.attn.wk.weight", "txtfusion.refiner_blocks.0.attn.wk.weight"
        ),
        _turned("blocks.1.mod.lin", (1, 0, 2, 3, 4, 5)),
        _turned("last.modulation.lin", (1, 0)),
        _turned("tproj.1.weight", (0, 1, 3, 2, 4, 5)),
    ],
    latents=_latents,
    painted=_painted,
    asked=[
        151644, 8948, 198, 74785, 279, 2168, 553, 44193, 279, 1894, 11, 6083, 11, 1379, 11, 10434, 11, 12194,
        11, 1467, 11, 27979, 11871, 315, 279, 6171, 323, 4004, 25, 151645, 198, 151644, 872, 198, 64, 5562,
        151645, 198, 151644, 77091, 198,
    ],
    tokens="037eb1a187a097ba9091d62daa7873a1e7163320549dfe7e15821b388fe0ad6f",
    cut=600 + 5 - 512,
    states=_states,
    draw=_draw,
    negative="blurry",
    distilled=("turbo", 4.0),
)  # fmt: skip

# By hand, from the programs' own converters; the last but one ending is of the factor that reads.
LORAS = Loras(
    dialects={
        "ComfyUI": ("comfyui", lambda site: f"diffusion_model.{site.original}.lora_"),
        "ai-toolkit": ("comfyui", lambda site: f"base_model.model.{site.original}.lora_"),
        "diffusers": ("diffusers", lambda site: f"transformer.{site.module}.lora_"),
        "PEFT": ("diffusers", lambda site: f"base_model.model.{site.module}.lora_"),
        "musubi-tuner": ("kohya", lambda site: f"lora_unet_{under(site.original)}.lora_"),
        "OneTrainer": ("onetrainer", lambda site: f"lora_transformer_{under(site.module)}.lora_"),
        "LyCORIS": ("kohya", lambda site: f"lycoris_{under(site.module)}.lora_"),
    },
    fused={},
    others=[],
    thirds=[],
    whole=None,
    mixed=None,
    strange=[
        ("diffusion_model.layers.0.attention.qkv", (96, 32), "for Z-Image, the model is Krea 2"),
        ("diffusion_model.double_blocks.0.img_mod.lin", (192, 32), "for Flux 1, the model is Krea 2"),
        ("diffusion_model.blocks.0.self_attn.q_proj", (32, 32), "for Anima, the model is Krea 2"),
        ("lora_unet_down_blocks_1_attentions_0_proj_in", (64, 64), "no place in this model"),
        ("lora_unet_blocks_0_attn_wq", (48, 48), "do not fit"),
    ],
    written="comfyui",
    stem="diffusion_model.",
    parts=("lora_A.weight", "lora_B.weight"),
    known="diffusion_model.blocks.0.attn.gate.lora_A.weight",
    loader=Krea2LoraLoaderMixin,
)

KREA_2 = FlowFamily(
    "krea2",
    blocks=".transformer_blocks.",
    tiny=2 * 8,
    taught=frozenset(
        [f"attn.{part}" for part in ("wq", "wk", "wv", "gate", "wo")]
        + [f"mlp.{part}" for part in ("gate", "up", "down")]
    ),
    published=PUBLISHED,
    own=OWN,
    loras=LORAS,
)
