"""Anima, as its authors, diffusers and the programs that write LoRA files for it have it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from diffusers import AnimaAutoBlocks, AutoencoderKLQwenImage, CosmosTransformer3DModel, ModularPipeline
from diffusers.loaders import AnimaLoraLoaderMixin
from diffusers.models.transformers import transformer_cosmos
from diffusers.modular_pipelines.anima.encoders import AnimaTextEncoderStep, encode_vae_image
from flow_family import QWEN3, FlowFamily, Loras, Order, Own, Parts, Published, Shapes, Size, under
from published_files import published_shapes
from tiny_flow_kinds import ANIMA_CHANNELS
from torch import Tensor, nn

from clora_ext.families.family_data import family_data
from clora_ext.families.flow.text import load_reading
from clora_ext.formats.flow_keys import FLOW_PREFIX

EMPTY = 151643  # what ComfyUI, and clora, ask the language model of a caption without a word
LONGEST = 512


def _transformer() -> nn.Module:
    found: nn.Module = CosmosTransformer3DModel(
        num_attention_heads=16, text_embed_dim=1024, rope_scale=[1.0, 4.0, 4.0],  # type: ignore[arg-type]
        extra_pos_embed_type=None,
    )  # fmt: skip
    return found


def _made_of_it() -> list[tuple[Shapes, str]]:
    shapes = published_shapes("anima")
    cosmos = {name: shape for name, shape in shapes.items() if not name.startswith("llm_adapter.")}
    narrow = {name: (2048, 768) for name in shapes if ".cross_attn.k_proj" in name and "llm" not in name}
    return [
        (cosmos, "Cosmos Predict2"),
        ({**shapes, "x_embedder.proj.1.weight": (2048, 72)}, "edits pictures"),
        ({**shapes, **narrow}, "text conditioner gives 1024"),
    ]


PUBLISHED = Published(
    sizes=[
        Size(
            "anima", "anima-preview", ("qwen_3_06b_base", "qwen3_06b"), _transformer,
            {
                **QWEN3, "num_hidden_layers": 28, "num_attention_heads": 16, "hidden_size": 1024,
                "intermediate_size": 3072, "max_position_embeddings": 32768,
            },
            (28 * 8, 28 * 10, 454),
        )
    ],
    vae=("qwen_image_vae", "qwen_image_vae", AutoencoderKLQwenImage),
    by_hand={
        "transformer_blocks.7.attn1.to_q.weight": ("blocks.7.self_attn.q_proj.weight", (0, 1)),
        "transformer_blocks.7.attn1.to_k.weight": ("blocks.7.self_attn.k_proj.weight", (0, 1)),
        "transformer_blocks.7.attn1.to_out.0.weight": ("blocks.7.self_attn.output_proj.weight", (0, 1)),
        "transformer_blocks.7.attn1.norm_q.weight": ("blocks.7.self_attn.q_norm.weight", (0, 1)),
        "transformer_blocks.7.attn2.to_q.weight": ("blocks.7.cross_attn.q_proj.weight", (0, 1)),
        "transformer_blocks.7.attn2.to_v.weight": ("blocks.7.cross_attn.v_proj.weight", (0, 1)),
        "transformer_blocks.7.attn2.norm_k.weight": ("blocks.7.cross_attn.k_norm.weight", (0, 1)),
        "transformer_blocks.7.ff.net.0.proj.weight": ("blocks.7.mlp.layer1.weight", (0, 1)),
        "transformer_blocks.7.ff.net.2.weight": ("blocks.7.mlp.layer2.weight", (0, 1)),
        "transformer_blocks.7.norm1.linear_1.weight": (
            "blocks.7.adaln_modulation_self_attn.1.weight", (0, 1),
        ),
        "transformer_blocks.7.norm2.linear_2.weight": (
            "blocks.7.adaln_modulation_cross_attn.2.weight", (0, 1),
        ),
        "transformer_blocks.7.norm3.linear_1.weight": ("blocks.7.adaln_modulation_mlp.1.weight", (0, 1)),
        "patch_embed.proj.weight": ("x_embedder.proj.1.weight", (0, 1)),
        "time_embed.t_embedder.linear_2.weight": ("t_embedder.1.linear_2.weight", (0, 1)),
        "time_embed.norm.weight": ("t_embedding_norm.weight", (0, 1)),
        "norm_out.linear_2.weight": ("final_layer.adaln_modulation.2.weight", (0, 1)),
        "proj_out.weight": ("final_layer.linear.weight", (0, 1)),
    },
    swapped=[],
    cut=None,
    relatives={"anima_diffusers": "without its text conditioner"},
    made_of_it=_made_of_it,
    variants=[
        ("anima-turbo-v1.0", "turbo", True), ("anima-base-v1.0", "base", True),
        ("Anima_Aesthetic", "aesthetic", True), ("my_model", "base", False),
    ],
    advised=(["Anima Base", "clora export --lora"], {"sample_steps": 8, "guidance": 1.0}),
    layouts=[("", ""), ("", FLOW_PREFIX), ("", "model."), ("", "net.")],
)  # fmt: skip


@contextmanager
def _without_torchvision() -> Iterator[None]:
    """diffusers has it make what says where no picture is as large as the latents; it is so already."""
    stand_in = SimpleNamespace(
        functional=SimpleNamespace(resize=lambda mask, size, interpolation: mask[..., : size[0], : size[1]]),
        InterpolationMode=SimpleNamespace(NEAREST=None),
    )
    with patch.object(transformer_cosmos, "transforms", stand_in, create=True):
        yield


class AnimaModularPipeline:
    """diffusers' own, with T5's tokenizer."""

    def __init__(self, **parts: Any) -> None:
        self.blocks: Any = AnimaAutoBlocks().init_pipeline()
        words = load_reading(family_data("anima")["text"]).words
        self.blocks.update_components(t5_tokenizer=words, **parts)

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype) -> "AnimaModularPipeline":
        """As whoever has such a folder loads it."""
        found = cls.__new__(cls)
        found.blocks = ModularPipeline.from_pretrained(folder)
        found.blocks.load_components(dtype=dtype)
        return found

    def set_progress_bar_config(self, **options: Any) -> None:
        """Of all blocks."""
        self.blocks.set_progress_bar_config(**options)

    @property
    def vae(self) -> Any:
        """One of its parts."""
        return self.blocks.vae


def _answer(parts: Parts, latents: Tensor, times: Tensor, condition: Any) -> Tensor:
    states = condition["states"]
    filled = torch.nn.functional.pad(states, (0, 0, 0, LONGEST - states.shape[1]))
    with _without_torchvision():
        found: Tensor = parts["transformer"](
            hidden_states=latents.unsqueeze(2), timestep=times, encoder_hidden_states=filled,
            padding_mask=torch.zeros(1, 1, *latents.shape[-2:]),
        ).sample  # fmt: skip
    return found.squeeze(2)


def _scales(vae: Any) -> list[Tensor]:
    both = (vae.config.latents_mean, vae.config.latents_std)
    return [torch.tensor(one).reshape(1, -1, 1, 1, 1) for one in both]


def _latents(pipeline: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    spread = pipeline.vae.encode(pixels.unsqueeze(2)).latent_dist.std / _scales(pipeline.vae)[1]
    options = {"device": pixels.device, "dtype": pixels.dtype, "latent_channels": ANIMA_CHANNELS}
    mean = encode_vae_image(pixels, pipeline.vae, torch.Generator(), **options)
    return mean.squeeze(2), spread.squeeze(2)


def _painted(pipeline: Any, latents: Tensor) -> Tensor:
    mean, spread = _scales(pipeline.vae)
    found: Tensor = pipeline.vae.decode(latents.unsqueeze(2) * spread + mean).sample
    return found.squeeze(2)


def _states(pipeline: Any, texts: list[str]) -> Sequence[Tensor]:
    """One by one, without the zeros behind; of an empty one as ComfyUI does: diffusers masks what is said."""
    found = []
    for text in texts:
        read = AnimaTextEncoderStep.encode_prompt(
            pipeline.blocks, text or "x", prepare_unconditional_embeds=False, device=torch.device("cpu")
        )
        words = pipeline.blocks.t5_tokenizer(text, max_length=LONGEST, truncation=True, return_tensors="pt")
        states = read["qwen_prompt_embeds"]
        if not text:
            states = pipeline.blocks.text_encoder(torch.tensor([[EMPTY]])).last_hidden_state
        elif not torch.equal(words.input_ids, read["t5_input_ids"]):
            raise AssertionError(text)
        given = pipeline.blocks.text_conditioner(states, words.input_ids)
        found.append(given[0, : words.input_ids.shape[1]])
    return found


def _draw(pipeline: Any, prompt: str, negative: str, steps: int, seed: int, size: tuple[int, int]) -> Any:
    with _without_torchvision():
        return pipeline.blocks(
            prompt=prompt, negative_prompt=negative, width=size[0], height=size[1], num_inference_steps=steps,
            generator=torch.Generator().manual_seed(seed), output="images",
        )[0]  # fmt: skip


def _exchanged(one: str, other: str) -> dict[str, tuple[str, Order]]:
    names = [f"{FLOW_PREFIX}blocks.{one}.weight", f"{FLOW_PREFIX}blocks.{other}.weight"]
    return {names[0]: (names[1], (0,)), names[1]: (names[0], (0,))}


def _turned(name: str, order: Order) -> dict[str, tuple[str, Order]]:
    return {FLOW_PREFIX + name: (FLOW_PREFIX + name, order)}


OWN = Own(
    pipeline=AnimaModularPipeline,
    scheduler={"shift": 3.0},
    sizes=[(8, 8), (6, 10)],
    latent_shape=(ANIMA_CHANNELS, 16, 16),
    answer=_answer,
    misplaced=[
        _exchanged("0.self_attn.q_proj", "0.self_attn.k_proj"),
        _exchanged("0.self_attn.k_norm", "0.cross_attn.k_norm"),
        _exchanged("1.cross_attn.k_proj", "1.cross_attn.v_proj"),
        _exchanged("1.self_attn.output_proj", "1.cross_attn.output_proj"),
        _exchanged("0.adaln_modulation_self_attn.2", "0.adaln_modulation_mlp.2"),
        _turned("blocks.1.adaln_modulation_cross_attn.2.weight", (1, 0, 2)),
        _turned("final_layer.adaln_modulation.2.weight", (1, 0)),
        _turned("t_embedder.1.linear_2.weight", (0, 2, 1)),
    ],
    latents=_latents,
    painted=_painted,
    asked=[64, 5562],
    tokens="e8ad1022084688b864052777f1e4657877d856e1929eb02b2db6d35968fecccb",
    cut=600 - 512,
    states=_states,
    draw=_draw,
    negative="blurry",
)

# By hand, from the programs' own converters; the last but one ending is of the factor that reads.
LORAS = Loras(
    dialects={
        "ai-toolkit": ("comfyui", lambda site: f"diffusion_model.{site.original}.lora_"),
        "diffusers": ("diffusers", lambda site: f"transformer.{site.module}.lora_"),
        "PEFT": ("diffusers", lambda site: f"base_model.model.{site.module}.lora_"),
        "sd-scripts": ("kohya", lambda site: f"lora_unet_{under(site.original)}.lora_"),
        "OneTrainer": ("onetrainer", lambda site: f"lora_transformer_{under(site.module)}.lora_"),
        "LyCORIS": ("kohya", lambda site: f"lycoris_{under(site.module)}.lora_"),
    },
    fused={},
    others=[],
    thirds=[],
    whole=None,
    mixed=None,
    strange=[
        ("diffusion_model.layers.0.attention.qkv", (96, 32), "for Z-Image, the model is Anima"),
        ("diffusion_model.double_blocks.0.img_mod.lin", (192, 32), "for Flux 1, the model is Anima"),
        ("lora_unet_down_blocks_1_attentions_0_proj_in", (64, 64), "no place in this model"),
        ("lora_unet_blocks_0_self_attn_q_proj", (48, 48), "do not fit"),
        ("diffusion_model.llm_adapter.blocks.0.cross_attn.q_proj", (32, 32), "text conditioner"),
    ],
    written="comfyui",
    stem="diffusion_model.",
    parts=("lora_A.weight", "lora_B.weight"),
    known="diffusion_model.blocks.0.self_attn.output_proj.lora_A.weight",
    loader=AnimaLoraLoaderMixin,
)

ANIMA = FlowFamily(
    "anima",
    blocks="transformer_blocks.",
    tiny=2 * 10,
    taught=frozenset(
        [f"{kind}_attn.{part}_proj" for kind in ("self", "cross") for part in ("q", "k", "v", "output")]
        + ["mlp.layer1", "mlp.layer2"]
    ),
    published=PUBLISHED,
    own=OWN,
    loras=LORAS,
)
