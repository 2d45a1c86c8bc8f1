"""ComfyUI is taught the sizes of small models; all else of its detection and its modules stays as it is.

It knows Z-Image by a width of 3840, and Qwen3-4B by one of 2560; both have all other numbers fixed with it.
Of Flux.2 it reads every number but a head's width from the shapes. Anima it knows by its names, with the
numbers of a width of 2048; Qwen3-0.6B by one of 1024. Of Krea 2 it reads every number but a
head's width and how many heads its text has; Qwen3-VL-4B it knows by the width of 2560.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

__all__ = [
    "ANIMA",
    "ANIMA_ADAPTER",
    "ANIMA_TEXT",
    "APART",
    "HEAD",
    "KREA",
    "KREA_TEXT",
    "KREA_TEXT_LAYERS",
    "TEXT",
    "TEXT_HEAD",
    "TEXT_LAYERS",
    "VOCABULARY",
    "WIDTH",
    "teach_sizes",
]

APART = ("double_stream_modulation", "single_stream_modulation", "final_layer", "time_guidance_embed")
"""Layers of a klein that ComfyUI knows by their authors' names alone; clora teaches none of them."""

WIDTH, HEAD = 1152, 128  # narrower, its modules are not the published ones: the MLP's width is rounded there
TEXT, TEXT_HEAD, TEXT_LAYERS = 64, 128, 28  # layers: Flux.2 klein reads what the 27th gives
VOCABULARY = 151_936
ANIMA, ANIMA_TEXT = 256, 48  # widths; that of the text is not Z-Image's, by which the language model is known
ANIMA_ADAPTER = {"source_dim": ANIMA_TEXT, "target_dim": 64, "model_dim": 64, "num_layers": 2}
KREA, KREA_TEXT = 256, 40  # widths; that of the text is one of 20 heads
KREA_TEXT_LAYERS = 36  # it reads what the 35th gives
_ANIMA_HEADS = 2  # of the network between text and transformer
_PUBLISHED = 3840
_EMBEDDER = "cap_embedder.1.weight"
_SIGHT = "model.visual.merger.linear_fc2.weight"
_TEXT_NORM = "model.layers.0.post_attention_layernorm.weight"


def teach_sizes() -> None:
    """From now on ComfyUI detects the small models beside the published ones."""
    _transformer()
    _anima()
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
        if found is None:  # by diffusers' names, which ComfyUI translates then
            return None
        return {**found, "dim": WIDTH, "n_heads": WIDTH // HEAD, "n_kv_heads": WIDTH // HEAD}

    class SmallZImage(supported.ZImage):  # type: ignore[name-defined, misc]
        unet_config: ClassVar = {**supported.ZImage.unet_config, "dim": WIDTH}

    detection.detect_unet_config = detected
    supported.models.insert(0, SmallZImage)


def _anima() -> None:
    import comfy.ldm.anima.model as anima
    import comfy.model_detection as detection
    import comfy.supported_models as supported

    detect, adapter, get = detection.detect_unet_config, anima.LLMAdapter, supported.Anima.get_model

    def detected(state: dict[str, Any], prefix: str, *rest: Any, **more: Any) -> Any:
        found = detect(state, prefix, *rest, **more)
        if not found or found.get("image_model") != "anima" or found["model_channels"] != ANIMA:
            return found
        return {
            **found,
            "num_heads": ANIMA // HEAD,
            "crossattn_emb_channels": ANIMA_ADAPTER["target_dim"],
            "adaln_lora_dim": state[f"{prefix}blocks.0.adaln_modulation_mlp.1.weight"].shape[0],
        }

    def get_model(self: Any, state: dict[str, Any], prefix: str = "", device: Any = None) -> Any:
        small = state[f"{prefix}x_embedder.proj.1.weight"].shape[0] == ANIMA
        anima.LLMAdapter = partial(adapter, **ANIMA_ADAPTER, num_heads=_ANIMA_HEADS) if small else adapter
        return get(self, state, prefix, device)

    detection.detect_unet_config = detected
    supported.Anima.get_model = get_model


def _text_encoder() -> None:
    import comfy.sd
    from comfy.text_encoders import llama, qwen3vl

    detect = comfy.sd.detect_te_model

    def detected(state: dict[str, Any]) -> Any:
        if _SIGHT in state and state[_SIGHT].shape[0] == KREA_TEXT:
            return comfy.sd.TEModel.QWEN3VL_4B
        weight = state.get(_TEXT_NORM)
        small = {(TEXT,): comfy.sd.TEModel.QWEN3_4B, (ANIMA_TEXT,): comfy.sd.TEModel.QWEN3_06B}
        found = None if weight is None else small.get(tuple(weight.shape))
        return detect(state) if found is None else found

    @dataclass
    class Small(llama.Qwen3_4BConfig):  # type: ignore[name-defined, misc]
        hidden_size: int = TEXT
        intermediate_size: int = 2 * TEXT
        num_hidden_layers: int = TEXT_LAYERS
        num_attention_heads: int = 2
        num_key_value_heads: int = 1

    @dataclass
    class SmallAnima(llama.Qwen3_06BConfig):  # type: ignore[name-defined, misc]
        hidden_size: int = ANIMA_TEXT
        intermediate_size: int = 2 * ANIMA_TEXT
        num_hidden_layers: int = TEXT_LAYERS
        num_attention_heads: int = 2
        num_key_value_heads: int = 1

    @dataclass
    class SmallKrea(llama.Qwen3VL_4BConfig):  # type: ignore[name-defined, misc]
        hidden_size: int = KREA_TEXT
        intermediate_size: int = 2 * KREA_TEXT
        num_hidden_layers: int = KREA_TEXT_LAYERS
        num_attention_heads: int = 2
        num_key_value_heads: int = 1

    qwen3vl.QWEN3VL_CONFIGS["qwen3vl_4b"] = SmallKrea
    qwen3vl.QWEN3VL_VISION["qwen3vl_4b"] = {
        "hidden_size": 16, "intermediate_size": 16, "depth": 1, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    qwen3vl.QWEN3VL_VISION_COMMON.update(num_heads=2, patch_size=2, num_position_embeddings=4)
    comfy.sd.detect_te_model = detected
    llama.Qwen3_4BConfig, llama.Qwen3_06BConfig = Small, SmallAnima
