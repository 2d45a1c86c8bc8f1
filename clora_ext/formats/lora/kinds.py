"""How LoRA files differ between families of models. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from clora_ext.errors import UsageError, did_you_mean

__all__ = ["KINDS", "LoraKind", "kind_of"]


@dataclass(frozen=True, slots=True)
class LoraKind:
    """How files for a family of models are named and marked.

    Attributes:
        prefixes: of the tensors' names, by component.
        embeddings: what the vectors of a text encoder are called in an embedding, by component.
        original: whether the denoiser's layers have the original layout's names (SDXL) or diffusers' (SD1).
        base_version: sd-scripts' name of the base, by which web interfaces decide what to list.
        architecture: modelspec's name of it.
        implementation: modelspec's name of the code whose layer names are used.
        resolution: side of a square picture, pixels, when the caller does not say.
        endings: of the names of the two factors, the one that reads first.
        alpha: whether alpha stands beside the factors; else the factors are such that it is the rank.
    """

    prefixes: Mapping[str, str]
    embeddings: Mapping[str, str]
    original: bool
    base_version: str
    architecture: str
    implementation: str
    resolution: int
    endings: tuple[str, str] = ("lora_down.weight", "lora_up.weight")
    alpha: bool = True


def _klein(size: str) -> LoraKind:
    """diffusers' names, which know no alpha: by those that do, queries, keys and values are one adapter."""
    return LoraKind(
        prefixes={"transformer": "transformer."},
        embeddings={},
        original=False,
        base_version=f"flux2_klein_{size}",
        architecture=f"flux-2-klein-{size}/lora",
        implementation="diffusers",
        resolution=1024,
        endings=("lora_A.weight", "lora_B.weight"),
        alpha=False,
    )


KINDS: Mapping[str, LoraKind] = {
    "sd1": LoraKind(
        prefixes={"unet": "lora_unet_", "text_encoder": "lora_te_"},
        embeddings={"text_encoder": "clip_l"},
        original=False,
        base_version="sd_v1",
        architecture="stable-diffusion-v1/lora",
        implementation="diffusers",
        resolution=512,
    ),
    "sdxl": LoraKind(
        prefixes={"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"},
        embeddings={"text_encoder": "clip_l", "text_encoder_2": "clip_g"},
        original=True,
        base_version="sdxl_base_v1-0",
        architecture="stable-diffusion-xl-v1-base/lora",
        implementation="https://github.com/Stability-AI/generative-models",
        resolution=1024,
    ),
    # ai-toolkit's names: kohya's reach all of a transformer in ComfyUI or in diffusers, not in both.
    "z_image": LoraKind(
        prefixes={"transformer": "diffusion_model."},
        embeddings={},
        original=False,
        base_version="z_image",
        architecture="z-image/lora",
        implementation="diffusers",
        resolution=1024,
        endings=("lora_A.weight", "lora_B.weight"),
    ),
    # The authors' names: ComfyUI knows no others. diffusers translates them, and takes no file with an alpha.
    "anima": LoraKind(
        prefixes={"transformer": "diffusion_model."},
        embeddings={},
        original=True,
        base_version="anima",
        architecture="anima-preview/lora",
        implementation="https://huggingface.co/circlestone-labs/Anima",
        resolution=1024,
        endings=("lora_A.weight", "lora_B.weight"),
        alpha=False,
    ),
    # The authors' names, without alpha, which diffusers refuses beside them.
    "krea2": LoraKind(
        prefixes={"transformer": "diffusion_model."},
        embeddings={},
        original=True,
        base_version="krea2",
        architecture="krea-2/lora",
        implementation="https://github.com/krea-ai/krea-2",
        resolution=1024,
        endings=("lora_A.weight", "lora_B.weight"),
        alpha=False,
    ),
    "flux2_klein_4b": _klein("4b"),
    "flux2_klein_9b": _klein("9b"),
}
"""By the family's name."""


def kind_of(family: str) -> LoraKind:
    """How files for ``family`` are named and marked.

    Raises:
        UsageError: there are no names for the family.
    """
    try:
        return KINDS[family]
    except KeyError as error:
        message = f"no LoRA files are known for the family {family!r}"
        raise UsageError(message, fix=did_you_mean(family, tuple(KINDS))) from error
