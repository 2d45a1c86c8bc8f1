"""ComfyUI is taught the sizes of small models; all else of its detection and its modules stays as it is.

It knows Z-Image by a width of 3840, and Qwen3-4B by one of 2560; both have all other numbers fixed with it.
Of Flux.2 it reads every number but a head's width from the shapes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["APART", "HEAD", "TEXT", "TEXT_HEAD", "TEXT_LAYERS", "VOCABULARY", "WIDTH", "teach_sizes"]

APART = ("double_stream_modulation", "single_stream_modulation", "final_layer", "time_guidance_embed")
"""Layers of a klein that ComfyUI knows by their authors' names alone; clora teaches none of them."""

WIDTH, HEAD = 1152, 128  # narrower, its modules are not the published ones: the MLP's width is rounded there
TEXT, TEXT_HEAD, TEXT_LAYERS = 64, 128, 28  # layers: Flux.2 klein reads what the 27th gives
VOCABULARY = 151_936
_PUBLISHED = 3840
_EMBEDDER = "cap_embedder.1.weight"
_TEXT_NORM = "model.layers.0.post_attention_layernorm.weight"


def teach_sizes() -> None:
    """From now on ComfyUI detects the small models beside the published ones."""
    _transformer()
    _text_encoder()


def _transformer() -> None:
    import comfy.model_detection as detection
    import comfy.supported_models as supported
    import torch

    detect = detection.detect_unet_config

    def detected(state: dict[str, Any], prefix: str, *rest: Any, **more: Any) -> Any:
        weight = state.get(prefix + _EMBEDDER)
        if weight is None or weight.shape[0] != WIDTH:
            return detect(state, prefix, *rest, **more)
        published = {**state, prefix + _EMBEDDER: torch.empty(_PUBLISHED, weight.shape[1], device="meta")}
        found = detect(published, prefix, *rest, **more)
        return {**found, "dim": WIDTH, "n_heads": WIDTH // HEAD, "n_kv_heads": WIDTH // HEAD}

    class SmallZImage(supported.ZImage):  # type: ignore[name-defined, misc]
        unet_config: ClassVar = {**supported.ZImage.unet_config, "dim": WIDTH}

    detection.detect_unet_config = detected
    supported.models.insert(0, SmallZImage)


def _text_encoder() -> None:
    import comfy.sd
    from comfy.text_encoders import llama

    detect = comfy.sd.detect_te_model

    def detected(state: dict[str, Any]) -> Any:
        weight = state.get(_TEXT_NORM)
        small = weight is not None and tuple(weight.shape) == (TEXT,)
        return comfy.sd.TEModel.QWEN3_4B if small else detect(state)

    @dataclass
    class Small(llama.Qwen3_4BConfig):  # type: ignore[name-defined, misc]
        hidden_size: int = TEXT
        intermediate_size: int = 2 * TEXT
        num_hidden_layers: int = TEXT_LAYERS
        num_attention_heads: int = 2
        num_key_value_heads: int = 1

    comfy.sd.detect_te_model = detected
    llama.Qwen3_4BConfig = Small
