"""What a site is called in each dialect of LoRA files, both ways. Needs no torch.

The dialects are data: a prefix and which of a site's two paths follows it. A prefix that ends in an
underscore joins the path with underscores. Adding a dialect is adding rows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from clora_ext.adapters.sites import Site

__all__ = ["DIALECTS", "Dialect", "Key", "NameTable", "Role", "is_lora_name", "join", "parse_key", "stems"]

Dialect = Literal["kohya", "diffusers", "comfyui", "onetrainer"]
Role = Literal["down", "up", "alpha"]

_Spelling = Literal["module", "original"]

DIALECTS: Mapping[Dialect, Mapping[str, tuple[tuple[str, _Spelling], ...]]] = {
    # sd-scripts, web interfaces, OneTrainer's legacy files. diffusers' converter writes te1 for one encoder.
    "kohya": {
        "unet": (("lora_unet_", "module"), ("lora_unet_", "original")),
        "text_encoder": (("lora_te_", "module"), ("lora_te1_", "module")),
        "text_encoder_2": (("lora_te2_", "module"),),
    },
    # diffusers' and PEFT's own files; the bare path is the UNet's (save_lora_adapter, attention processors).
    "diffusers": {
        "unet": (("unet.", "module"), ("", "module"), ("base_model.model.", "module")),
        "text_encoder": (("text_encoder.", "module"), ("base_model.model.", "module")),
        "text_encoder_2": (("text_encoder_2.", "module"), ("base_model.model.", "module")),
    },
    # ComfyUI's training node and its "generic" names.
    "comfyui": {
        "unet": (("diffusion_model.", "original"),),
        "text_encoder": (("text_encoders.clip_l.transformer.", "module"),),
        "text_encoder_2": (("text_encoders.clip_g.transformer.", "module"),),
    },
    # OneTrainer's internal names (lora_unet.), and the OMI names that it writes on request.
    "onetrainer": {
        "unet": (("lora_unet.", "module"), ("unet.", "original")),
        "text_encoder": (("lora_te.", "module"), ("lora_te1.", "module"), ("clip_l.", "module")),
        "text_encoder_2": (("lora_te2.", "module"), ("clip_g.", "module")),
    },
}
"""For each dialect and component: prefixes, each with the path of the site that follows it."""

# X.lora_down.weight, X.lora_A.weight, X.lora_A.default.weight (an adapter's name), X.lora.down.weight,
# X_lora.down.weight, X.lora_linear_layer.down.weight; X.alpha, X_lora.alpha
_KEY = re.compile(
    r"""(?P<stem>.+?)(?:
        (?:\.lora_|[._]lora\.|\.lora_linear_layer\.)(?P<side>down|up)\.weight
        | \.lora_(?P<letter>[AB])(?:\.\w+)?\.weight
        | (?:[._]lora|\.lora_linear_layer)?\.(?P<alpha>alpha)
    )""",
    re.VERBOSE,
)
_ROLES: Mapping[str, Role] = {"down": "down", "up": "up", "A": "down", "B": "up", "alpha": "alpha"}
# CLIP's path in a text encoder, and its projections as diffusers named them before PEFT.
_CLIP = "text_model."
_EARLY_NAMES = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


@dataclass(frozen=True, slots=True)
class Key:
    """A tensor's name, taken apart.

    Attributes:
        stem: what names the site.
        role: which part of the adapter the tensor is.
    """

    stem: str
    role: Role


def parse_key(name: str) -> Key | None:
    """The parts of a LoRA tensor's name; None if it is not one.

    >>> parse_key("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight")
    Key(stem='lora_te_text_model_encoder_layers_0_mlp_fc1', role='up')
    >>> parse_key("unet.mid_block.attentions.0.proj_in.weight") is None
    True
    """
    found = _KEY.fullmatch(name)
    if found is None:
        return None
    role = _ROLES[found["side"] or found["letter"] or found["alpha"]]
    return Key(found["stem"].replace(".processor.", "."), role)


def is_lora_name(name: str) -> bool:
    """Whether a tensor of this name is one of a LoRA's two factors, in any program's spelling.

    >>> is_lora_name("unet.mid_block.attentions.0.proj_in.lora_A.weight"), is_lora_name("model.alpha")
    (True, False)
    """
    key = parse_key(name)
    return key is not None and key.role != "alpha"


class NameTable:
    """Every name that any dialect has for some sites.

    A name that stands for two sites (PEFT's own files do not say which text encoder they are of) stands for
    none.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._places: dict[str, tuple[Dialect, Site]] = {}
        self._ambiguous: set[str] = set()
        for site in sites:
            for dialect, stem in stems(site):
                known = self._places.setdefault(stem, (dialect, site))
                if known[1] != site:
                    self._ambiguous.add(stem)

    def find(self, stem: str) -> tuple[Dialect, Site] | None:
        """The dialect and the site of a stem; None if it is unknown or ambiguous."""
        return None if stem in self._ambiguous else self._places.get(stem)

    def is_ambiguous(self, stem: str) -> bool:
        """Whether the stem could be any of several sites."""
        return stem in self._ambiguous


def stems(site: Site) -> Iterator[tuple[Dialect, str]]:
    """All names of a site, each with the dialect that uses it."""
    for dialect, components in DIALECTS.items():
        for prefix, spelling in components[site.component]:
            for path in _paths(site, dialect, spelling):
                yield dialect, join(prefix, path)


def join(prefix: str, path: str) -> str:
    """A prefix and a dotted path as one name.

    >>> join("lora_unet_", "mid_block.attentions.0.proj_in"), join("unet.", "conv_in")
    ('lora_unet_mid_block_attentions_0_proj_in', 'unet.conv_in')
    """
    return prefix + (path.replace(".", "_") if prefix.endswith("_") else path)


def _paths(site: Site, dialect: Dialect, spelling: _Spelling) -> Iterator[str]:
    """The path and what the dialect's versions made of it."""
    path = site.module if spelling == "module" else site.original
    yield path
    if dialect == "diffusers" and path.endswith(".to_out.0"):
        yield path.removesuffix(".0")
    if not path.startswith(_CLIP):
        return
    # transformers 5.6 dropped the prefix from CLIPTextModel, and with it everything that names by module.
    yield path.removeprefix(_CLIP)
    parent, _, leaf = path.rpartition(".")
    if dialect == "diffusers" and leaf in _EARLY_NAMES:
        yield f"{parent}.{_EARLY_NAMES[leaf]}"
