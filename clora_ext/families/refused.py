"""Files that clora recognises and does not teach, each refused by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clora_ext.errors import CheckpointError
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.formats.header import Header
from clora_ext.formats.keys import SDXL_TEXT_2_PREFIX, SDXL_TEXT_PREFIX, UNET_PREFIX
from clora_ext.formats.lora.keys import is_adapter_name
from clora_ext.formats.quantised import quantised

__all__ = ["refuse_known"]

_BASE = "use the base model it was made from"
_TAUGHT = "use Stable Diffusion 1, SDXL, Z-Image, Flux.2 klein, Anima or Krea 2"
_Z_IMAGE = "use Z-Image (Base or Turbo)"
_KLEIN = "use Flux.2 klein (base 4B or 9B)"
_ANIMA = "use Anima as it is published in one file, or the whole diffusers folder"
_SIDES, _FIRST = ("encoder", "decoder"), ("conv_in", "conv1")  # the latter: Wan's
_DENOISER = "name the file of the model that paints; this one is found beside it"


@dataclass(frozen=True, slots=True)
class _Refused:
    """A kind of file, how it is recognised, and what to do instead."""

    what: str
    recognised: Callable[[Header], bool]
    fix: str


def _begins(*prefixes: str) -> Callable[[Header], bool]:
    """Whether any tensor's name begins so."""
    return lambda header: any(name.startswith(prefixes) for name in header.tensors)


def _input_channels(count: int) -> Callable[[Header], bool]:
    """Whether the UNet reads so many channels."""

    def recognised(header: Header) -> bool:
        first = header.tensors.get(f"{UNET_PREFIX}input_blocks.0.0.weight")
        return first is not None and len(first.shape) == 4 and first.shape[1] == count  # noqa: PLR2004

    return recognised


def _lora(header: Header) -> bool:
    return any(map(is_adapter_name, header.tensors))


def _refiner(header: Header) -> bool:
    return _begins("conditioner.embedders.0.model.")(header)


def _without_text(header: Header) -> bool:
    texts = ("cond_stage_model.", "conditioner.embedders.", "text_encoders.")
    return _begins(f"{UNET_PREFIX}input_blocks.")(header) and not _begins(*texts)(header)


def _half_text(header: Header) -> bool:
    return _begins(SDXL_TEXT_PREFIX)(header) != _begins(SDXL_TEXT_2_PREFIX)(header)


def _inside(*names: str) -> Callable[[Header], bool]:
    """Whether a transformer has tensors that begin so, alone in its file or not."""
    return _begins(*(prefix + name for prefix in ("", "net.", FLOW_PREFIX) for name in names))


def _lumina(header: Header) -> bool:
    """Z-Image's relative, of whose names it has most."""
    return f"{FLOW_PREFIX}cap_embedder.1.weight" in header.tensors and not _begins(
        f"{FLOW_PREFIX}cap_pad_token"
    )(header)


def _flux2(header: Header) -> bool:
    return _inside("double_stream_modulation_img.")(header)


def _flux2_dev(header: Header) -> bool:
    """Larger than any klein, and told how much guidance there is."""
    return _flux2(header) and _inside("guidance_in.", "time_guidance_embed.guidance_embedder.")(header)


def _cosmos(header: Header) -> bool:
    """What Anima was made from has most of its names."""
    return _inside("blocks.0.adaln_modulation_mlp.")(header) and not _inside("llm_adapter.")(header)


def _flux1(header: Header) -> bool:
    return _inside("double_blocks.")(header) and not _flux2(header)


def _vae(header: Header) -> bool:
    return any({f"{side}.{first}.weight" for side in _SIDES} <= set(header.tensors) for first in _FIRST)


_KNOWN = (
    _Refused("Z-Image Omni, which reads pictures, too", _inside("siglip_embedder."), _Z_IMAGE),
    _Refused("a Z-Image that paints pixels instead of latents", _inside("dec_net."), _Z_IMAGE),
    _Refused("Lumina Image 2", _lumina, _TAUGHT),
    _Refused("Cosmos Predict2, or Anima without its text conditioner (llm_adapter)", _cosmos, _ANIMA),
    _Refused("Qwen-Image", _inside("transformer_blocks.0.img_mod."), _TAUGHT),
    _Refused("a video model (Wan)", _inside("blocks.0.cross_attn.norm_k."), _TAUGHT),
    _Refused(
        "a text encoder alone",
        _begins("model.layers.0.self_attn.", "model.language_model.layers."),
        _DENOISER,
    ),
    _Refused("an inpainting model (its UNet reads 9 channels)", _input_channels(9), _BASE),
    _Refused("a picture-editing model (its UNet reads 8 channels)", _input_channels(8), _BASE),
    _Refused("the SDXL refiner", _refiner, "use the SDXL base model"),
    _Refused("Stable Diffusion 2", _begins("cond_stage_model.model."), _TAUGHT),
    _Refused("Stable Diffusion 3", _inside("joint_blocks."), _TAUGHT),
    _Refused("Flux.2 dev, of 32 billion parameters", _flux2_dev, _KLEIN),
    _Refused("Flux 1 or a relative of it", _flux1, _TAUGHT),
    _Refused(
        "one component of a diffusers folder",
        _begins("down_blocks.", "encoder.down_blocks.", "text_model."),
        "name the folder that has model_index.json",
    ),
    _Refused("a VAE alone", _vae, _DENOISER),
    _Refused(
        "a checkpoint without text encoder", _without_text, "use a checkpoint with its text encoder baked in"
    ),
    _Refused(
        "an SDXL checkpoint without one of its two text encoders",
        _half_text,
        "use a checkpoint with both text encoders baked in",
    ),
)


def refuse_known(header: Header, where: Path) -> None:
    """Raise CheckpointError if the header is of a kind that is recognised and not taught."""
    if _lora(header):
        raise CheckpointError(
            f"{where} is a LoRA, not a model", fix="fold it into a project with clora add-lora"
        )
    how = quantised(header.tensors)
    if how is not None:
        raise CheckpointError(f"{where} is {how}", fix="use its fp16, bf16 or fp32 version")
    for kind in _KNOWN:
        if kind.recognised(header):
            raise CheckpointError(f"{where} is {kind.what}", fix=kind.fix)
