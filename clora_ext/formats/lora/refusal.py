"""What a file is refused for before its tensors are read: another kind of adapter, another kind of model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.header import TensorInfo
from clora_ext.formats.text import quoted

from .keys import Key, parse_key

if TYPE_CHECKING:
    from clora_ext.formats.checkpoint import Checkpoint

__all__ = [
    "listed",
    "other_kind",
    "recognise_file",
    "recognise_sites",
    "refuse_other_kinds",
    "refuse_other_model",
]

_SHOWN = 4

# What marks an adapter that is no change of fixed tensors, its name, and why it cannot be read.
_OTHER_KINDS: Sequence[tuple[re.Pattern[str], str, str]] = tuple(
    (re.compile(pattern), kind, reason)
    for pattern, kind, reason in (
        (r"\.(?:oft_|boft_|oft$)", "OFT", "it multiplies the model's weights by rotations"),
        (r"\.on_input$|\.ia3_l(?:\.\w+)?$", "IA3", "it rescales the model's own weights"),
        (r"^l(?:ora|ycoris)_.*\.[ab][12]\.weight$", "GLoRA", "its change depends on the model's own weights"),
        (
            r"\.(?:lambda_layer$|[pq]_layer\.weight$)",
            "T-LoRA",
            "its strength depends on the time of a denoising step",
        ),
        (
            r"\.lora_[AB](?:\.\w+)?\.bias$|\.lora_bias",
            "a LoRA with biases",
            "its factors have biases of their own",
        ),
        (r"\.lora_embedding_[AB]", "a LoRA of embeddings", "its factors change the table of tokens"),
        (r"\.(?:vera_|lora_E$|lora_E\.|ranknum)", "VeRA or AdaLoRA", "a third tensor scales the two factors"),
        (
            r"^l(?:ora|ycoris)_.*\.scalar$",
            "a LyCORIS adapter with a trained scalar",
            "a third tensor scales the two factors",
        ),
        (
            r"\.set_weight$",
            "not a LoRA alone",
            "it also replaces weights of the model, and with them what they have learned",
        ),
        (
            r"llm_adapter[._]|(?:^|\.)text_conditioner\.",
            "a LoRA of Anima's text conditioner, too",
            "it changes the network that reads for the transformer (llm_adapter), which stays as it is",
        ),
        (r"\.reshape_weight$", "for a model of another shape", "it also changes the sizes of layers"),
    )
)

_FLUX = "Flux"  # of either generation: their authors' names are mostly the same

# Rows for each column of a matrix that both generations have: the MLP's is gated in the later one.
_HEIGHTS = {
    re.compile(r"single_blocks[._]\d+[._]linear1$"): {7: "Flux 1", 9: "Flux.2"},
    re.compile(r"double_blocks[._]\d+[._](?:img|txt)_mlp[._]0$"): {4: "Flux 1", 6: "Flux.2"},
}

# By the authors' names and by diffusers', of whose widths one is that of another model's text.
_ANIMA = re.compile(
    r"blocks[._]\d+[._](?:(?:self|cross)_attn[._](?:[qkv]|output)_proj|mlp[._]layer[12])"
    r"|(?:^|_unet_|_transformer_|transformer\.|lycoris_)transformer_blocks[._]\d+[._]attn[12][._]to_"
)

# Marks of a model in the names of its layers; the first that is found counts. Stable Diffusion 1 and 2 have
# the same names: the width of the text states tells them apart.
_MODELS: Sequence[tuple[str, re.Pattern[str]]] = (
    (
        "Krea 2",
        re.compile(
            r"blocks[._]\d+[._](?:attn[._](?:w[qkvo]|(?:to_)?gate)|(?:mlp|ff)[._](?:gate|up|down))$"
            r"|txtfusion|text_fusion"
        ),
    ),
    ("Z-Image", re.compile(r"layers[._]\d+[._](?:attention|feed_forward)[._](?:to_|qkv|out|w[123])")),
    ("Flux.2", re.compile(r"to_qkv_mlp_proj|[._]ff(?:_context)?[._]linear_(?:in|out)|_stream_modulation")),
    ("Flux 1", re.compile(r"(?:img|txt)_mod[._]lin|[._]modulation[._]lin|proj_mlp|ff_context[._]net")),
    (_FLUX, re.compile(r"double_blocks|single_blocks|single_transformer_blocks")),
    ("a diffusion transformer", re.compile(r"joint_blocks|(?:^|_)transformer\.|^lora_transformer_")),
    (
        "SDXL",
        re.compile(
            r"^(?:lora_te2|text_encoder_2|clip_g)[._]|\.clip_g\.|transformer_blocks[._][1-9]"
            r"|output_blocks[._][012][._]1[._]transformer"
        ),
    ),
    (
        "SD1",
        re.compile(
            r"down_blocks[._]0[._]attentions|up_blocks[._]3[._]attentions"
            r"|input_blocks[._][12][._]1[._]|output_blocks[._](?:9|10|11)[._]1[._]"
        ),
    ),
)
_WIDTHS = {768: "SD1", 1024: "SD2", 2048: "SDXL"}
_TEXT_SIDE = re.compile(r"attn2[._]to_[kv]$")


def other_kind(names: Iterable[str]) -> tuple[str, str, str] | None:
    """The kind of adapter in a file that cannot be read: its name, why, and a tensor; None: no such kind."""
    for name in names:
        for pattern, kind, reason in _OTHER_KINDS:
            if pattern.search(name):
                return kind, reason, name
    return None


def refuse_other_kinds(path: Path, names: Iterable[str]) -> None:
    """Refuse adapters that are no change of fixed tensors.

    Raises:
        CheckpointError: with the kind, an example and the reason.
    """
    found = other_kind(names)
    if found is not None:
        kind, reason, name = found
        message = f"{path} is {kind}, which cannot be read: {reason} (tensor {quoted(name)})"
        fix = "use a LoRA, LoHa, LoKr or DoRA, or merge it into the base elsewhere first"
        raise CheckpointError(message, fix=fix)


def refuse_other_model(file: "Checkpoint", model: str | None) -> None:
    """Refuse a file that is recognisably for another kind of model than ``model``."""
    theirs = recognise_file(file.header.tensors)
    if theirs is not None and model is not None and not model.startswith(theirs):
        message = f"{file.path} is a LoRA for {theirs}, the model is {model}"
        raise CheckpointError(message, fix=f"use a LoRA that was trained on {model}")


def recognise_file(tensors: Mapping[str, TensorInfo]) -> str | None:
    """The kind of model that a LoRA file was trained on, as far as its names and shapes tell."""
    found = {name: key for name in tensors if (key := parse_key(name)) is not None}
    widths = (
        tensors[name].shape[1]
        for name, key in found.items()
        if key.role == "down" and _TEXT_SIDE.search(key.stem) and len(tensors[name].shape) > 1
    )
    named = _recognise([key.stem for key in found.values()], widths)
    return named if named != _FLUX else _generation(tensors, found) or _FLUX


def _generation(tensors: Mapping[str, TensorInfo], found: Mapping[str, Key]) -> str | None:
    """Which Flux a file is for, by how high a matrix is that it changes; None: that does not tell."""
    sides: dict[str, dict[str, int]] = {}
    for name, key in found.items():
        if key.role in {"down", "up"} and len(tensors[name].shape) > 1:
            side = tensors[name].shape[1 if key.role == "down" else 0]
            sides.setdefault(key.stem, {})[key.role] = side
    for stem, both in sides.items():
        for mark, heights in _HEIGHTS.items():
            if len(both) > 1 and both["down"] and mark.search(stem):
                return heights.get(both["up"] // both["down"])
    return None


def recognise_sites(sites: Sequence[Site]) -> str | None:
    """The kind of model that has these sites."""
    widths = (
        site.matrix[1] for site in sites if site.parameter == "weight" and _TEXT_SIDE.search(site.module)
    )
    return _recognise([f"{site.component}.{site.module}" for site in sites], widths)


def _recognise(stems: Sequence[str], widths: Iterable[int]) -> str | None:
    """By the text states' width if it is a known one, else by the first mark that any name bears."""
    if any(_ANIMA.search(stem) for stem in stems):
        return "Anima"
    known = {_WIDTHS[width] for width in widths if width in _WIDTHS}
    if len(known) == 1:
        return known.pop()
    marked = (model for model, mark in _MODELS if any(mark.search(stem) for stem in stems))
    return next(marked, None)


def listed(names: Sequence[str]) -> str:
    """The first few names and how many more there are.

    >>> listed(["a", "b", "c", "d", "e", "f"])
    "'a', 'b', 'c', 'd' and 2 more"
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(quoted, names[:_SHOWN])) + more
