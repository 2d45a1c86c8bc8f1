"""Models of random weights as small as ComfyUI's own modules can be: some of their sizes are fixed there."""

from typing import Any

import torch
from diffusers import (
    AnimaTextConditioner,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    CosmosTransformer3DModel,
    Flux2Transformer2DModel,
    Krea2Transformer2DModel,
    ZImageTransformer2DModel,
)
from sizes import (
    ANIMA,
    ANIMA_ADAPTER,
    ANIMA_TEXT,
    HEAD,
    KREA,
    KREA_TEXT,
    KREA_TEXT_LAYERS,
    TEXT,
    TEXT_HEAD,
    TEXT_LAYERS,
    VOCABULARY,
    WIDTH,
)
from tiny_flow import tensors_of
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

__all__ = ["sized_flow", "sized_modules"]


def sized_flow(
    kind: str = "z_image", width: int = WIDTH, layers: int = 2, seed: int = 0
) -> dict[str, dict[str, Tensor]]:
    """Every component's tensors by their names in a file of everything; see :func:`sized_modules`."""
    return tensors_of(sized_modules(kind, width, layers, seed), kind)


def sized_modules(kind: str, width: int = WIDTH, layers: int = 2, seed: int = 0) -> dict[str, nn.Module]:
    """Every component; the VAE is of the published size.

    Args:
        kind: the family.
        width: of a Z-Image.
        layers: of the transformer, of each kind that it has.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    made = {"flux2_klein_4b": _klein, "anima": _anima, "krea2": _krea2}
    texts = {"anima": (ANIMA_TEXT, TEXT_LAYERS), "krea2": (KREA_TEXT, KREA_TEXT_LAYERS)}
    text, depth = texts.get(kind, (TEXT, TEXT_LAYERS))
    turned = 5e6 if kind == "krea2" else 1e6
    parts: dict[str, Any] = {
        **(made[kind](layers) if kind in made else _z_image(width, layers)),
        "text_encoder": Qwen3Model(
            Qwen3Config(
                vocab_size=VOCABULARY, hidden_size=text, intermediate_size=2 * text,
                num_hidden_layers=depth, num_attention_heads=2, num_key_value_heads=1,
                head_dim=TEXT_HEAD, max_position_embeddings=40960, rms_norm_eps=1e-6, rope_theta=turned,
            )
        ),
    }  # fmt: skip
    with torch.no_grad():
        for part in parts.values():
            _move_norms(part)
        for name, parameter in parts["transformer"].named_parameters():
            if name.endswith("pad_token"):
                nn.init.normal_(parameter)
            if name.endswith("scale_shift_table"):
                nn.init.normal_(parameter, std=0.1)
    return parts


def _z_image(width: int, layers: int) -> dict[str, nn.Module]:
    return {
        "transformer": ZImageTransformer2DModel(
            in_channels=16, dim=width, n_layers=layers, n_refiner_layers=2, n_heads=width // HEAD,
            n_kv_heads=width // HEAD, cap_feat_dim=TEXT, axes_dims=[32, 48, 48],
        ),
        "vae": AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
        ),
    }  # fmt: skip


def _klein(layers: int) -> dict[str, nn.Module]:
    vae: Any = AutoencoderKLFlux2()
    nn.init.normal_(vae.bn.running_mean)
    nn.init.uniform_(vae.bn.running_var, 0.5, 2.0)
    transformer = Flux2Transformer2DModel(
        in_channels=128, num_layers=layers, num_single_layers=layers, attention_head_dim=HEAD,
        num_attention_heads=2, joint_attention_dim=3 * TEXT, axes_dims_rope=(32,) * 4, guidance_embeds=False,
    )  # fmt: skip
    return {"transformer": transformer, "vae": vae}


def _anima(layers: int) -> dict[str, nn.Module]:
    transformer = CosmosTransformer3DModel(
        in_channels=16, num_attention_heads=ANIMA // HEAD, attention_head_dim=HEAD, num_layers=layers,
        text_embed_dim=ANIMA_ADAPTER["target_dim"], adaln_lora_dim=32, rope_scale=(1.0, 4.0, 4.0),
        extra_pos_embed_type=None,
    )  # fmt: skip
    conditioner = AnimaTextConditioner(**ANIMA_ADAPTER, num_attention_heads=2)
    return {
        "transformer": transformer,
        "text_conditioner": conditioner,
        "vae": AutoencoderKLQwenImage(base_dim=32),
    }


def _krea2(layers: int) -> dict[str, nn.Module]:
    transformer = Krea2Transformer2DModel(
        in_channels=64, num_layers=layers, attention_head_dim=HEAD, num_attention_heads=KREA // HEAD,
        num_key_value_heads=1, intermediate_size=3 * KREA, text_hidden_dim=KREA_TEXT,
        text_intermediate_size=128,
    )  # fmt: skip
    return {
        "transformer": transformer,
        "vae": AutoencoderKLQwenImage(base_dim=32),
    }


def _move_norms(part: nn.Module) -> None:
    """Away from 1, where one norm in another's place would not be noticed."""
    for name, parameter in part.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.add_(0.1 * torch.randn_like(parameter))
