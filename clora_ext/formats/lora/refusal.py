"""What a file is refused for before its tensors are read: another kind of adapter, another kind of model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.header import TensorInfo
from clora_ext.formats.text import quoted

from .names import parse_key

__all__ = ["listed", "recognise_file", "recognise_sites", "refuse_other_kinds"]

_SHOWN = 4

# What marks an adapter that is more than pairs of factors, its name, and why it cannot be read as pairs.
_OTHER_KINDS: Sequence[tuple[re.Pattern[str], str, str]] = tuple(
    (re.compile(pattern), kind, reason)
    for pattern, kind, reason in (
        (r"\.hada_", "LoHa", "its change is an elementwise product, not a product of two factors"),
        (r"\.lokr_", "LoKr", "its change is a Kronecker product, not a product of two factors"),
        (
            r"\.dora_scale$|\.lora_magnitude_vector",
            "DoRA",
            "it also rescales the model's own weight, which is not a fixed change",
        ),
        (r"\.lora_mid\.", "a Tucker (CP) LoRA", "a third factor stands between the two"),
        (r"\.(?:oft_|boft_|oft$)", "OFT", "it multiplies the model's weight by a rotation"),
        (r"\.[ab][12]\.weight$", "GLoRA", "its change depends on the model's own weight"),
        (r"\.lora_[AB](?:\.\w+)?\.bias$|\.lora_bias", "a LoRA with biases", "biases are not taught"),
        (r"\.(?:vera_|lora_E$|lora_E\.|ranknum)", "VeRA or AdaLoRA", "a third tensor scales the two factors"),
        (r"\.scalar$", "a LyCORIS adapter with a trained scalar", "a third tensor scales the two factors"),
        (
            r"\.(?:diff|diff_b|set_weight|w_norm|b_norm|reshape_weight)$",
            "not a LoRA alone",
            "it also holds whole changes of weights, norms or biases",
        ),
        (r"^bundle_emb\.", "not a LoRA alone", "it also holds a trained embedding"),
    )
)

# Marks of a model in the names of its layers; the first that is found counts. Stable Diffusion 1 and 2 have
# the same names: the width of the text states tells them apart.
_MODELS: Sequence[tuple[str, re.Pattern[str]]] = (
    ("Flux", re.compile(r"double_blocks|single_blocks|single_transformer_blocks")),
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


def refuse_other_kinds(path: Path, names: Iterable[str]) -> None:
    """Refuse adapters that are no pairs of factors.

    Raises:
        CheckpointError: with the kind, an example and the reason.
    """
    for name in names:
        for pattern, kind, reason in _OTHER_KINDS:
            if pattern.search(name):
                message = f"{path} is {kind}, which cannot be read: {reason} (tensor {quoted(name)})"
                raise CheckpointError(
                    message, fix="use a plain LoRA, or merge it into the base elsewhere first"
                )


def recognise_file(tensors: Mapping[str, TensorInfo]) -> str | None:
    """The kind of model that a LoRA file was trained on, as far as its names and shapes tell."""
    found = {name: key for name in tensors if (key := parse_key(name)) is not None}
    widths = (
        tensors[name].shape[1]
        for name, key in found.items()
        if key.role == "down" and _TEXT_SIDE.search(key.stem) and len(tensors[name].shape) > 1
    )
    return _recognise([key.stem for key in found.values()], widths)


def recognise_sites(sites: Sequence[Site]) -> str | None:
    """The kind of model that has these sites."""
    widths = (site.matrix[1] for site in sites if _TEXT_SIDE.search(site.module))
    return _recognise([f"{site.component}.{site.module}" for site in sites], widths)


def _recognise(stems: Sequence[str], widths: Iterable[int]) -> str | None:
    """By the text states' width if it is a known one, else by the first mark that any name bears."""
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
