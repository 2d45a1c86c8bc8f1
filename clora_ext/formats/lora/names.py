"""What a site is called in each dialect of LoRA files, both ways. Needs no torch.

The dialects are data: a prefix and which of a site's two paths follows it. A prefix that ends in an
underscore joins the path with underscores. Adding a dialect is adding rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from clora_ext.adapters.sites import Parameter, Site

__all__ = ["DIALECTS", "Dialect", "NameTable", "join", "parts_of", "stems"]

Dialect = Literal["kohya", "diffusers", "comfyui", "onetrainer"]

_Spelling = Literal["module", "original"]

DIALECTS: Mapping[Dialect, Mapping[str, tuple[tuple[str, _Spelling], ...]]] = {
    # sd-scripts, web interfaces, OneTrainer's legacy files. diffusers' converter writes te1 for one encoder;
    # LyCORIS by itself, as SimpleTuner uses it, names what it wraps by its own name.
    "kohya": {
        "unet": (("lora_unet_", "module"), ("lora_unet_", "original"), ("lycoris_", "module")),
        "text_encoder": (("lora_te_", "module"), ("lora_te1_", "module")),
        "text_encoder_2": (("lora_te2_", "module"),),
        # The original names as sd-scripts has them; diffusers' ones as musubi-tuner writes them.
        "transformer": (("lora_unet_", "original"), ("lora_unet_", "module"), ("lycoris_", "module")),
    },
    # diffusers' and PEFT's own files; PEFT, save_lora_adapter and attention processors write bare paths.
    "diffusers": {
        "unet": (("unet.", "module"), ("", "module")),
        "text_encoder": (("text_encoder.", "module"), ("", "module")),
        "text_encoder_2": (("text_encoder_2.", "module"), ("", "module")),
        "transformer": (("transformer.", "module"), ("", "module")),
    },
    # ComfyUI's training node and its "generic" names; ai-toolkit's, which ComfyUI reads of transformers, and
    # which of Krea 2 are bare, behind PEFT's prefix.
    "comfyui": {
        "unet": (("diffusion_model.", "original"),),
        "text_encoder": (("text_encoders.clip_l.transformer.", "module"),),
        "text_encoder_2": (("text_encoders.clip_g.transformer.", "module"),),
        "transformer": (
            ("diffusion_model.", "module"),
            ("diffusion_model.", "original"),
            ("", "original"),
        ),
    },
    # OneTrainer's internal names (lora_unet.), and the OMI names that it writes on request.
    "onetrainer": {
        "unet": (("lora_unet.", "module"), ("unet.", "original")),
        "text_encoder": (("lora_te.", "module"), ("lora_te1.", "module"), ("clip_l.", "module")),
        "text_encoder_2": (("lora_te2.", "module"), ("clip_g.", "module")),
        "transformer": (("lora_transformer_", "module"), ("lora_transformer.", "module")),
    },
}
"""For each dialect and component: prefixes, each with the path of the site that follows it."""

# CLIP's path in a text encoder, and its projections as diffusers named them before PEFT.
_CLIP = "text_model."
_EARLY_NAMES = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


class NameTable:
    """Every name that any dialect has for the modules of some sites.

    A name that stands for two modules (PEFT's own files do not say which text encoder they are of) stands for
    none, unless they are the rows of one tensor: then it stands for all of these together.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = {(site.component, site.module, site.parameter): site for site in sites}
        self._places: dict[str, tuple[Dialect, Site]] = {}
        self._ambiguous: set[str] = set()
        whole = _fused(sites)
        for site in sites:
            for dialect, stem, spelling in _spelled(site):
                fused = whole.get((site.component, site.original)) if spelling == "original" else None
                known = self._places.setdefault(stem, (dialect, fused or site))
                if (known[1].component, known[1].module) != (site.component, (fused or site).module):
                    self._ambiguous.add(stem)
        self._sites |= {(one.component, one.module, one.parameter): one for one in whole.values()}

    def find(self, stem: str, parameter: Parameter = "weight") -> tuple[Dialect, Site] | None:
        """The dialect and the site of a stem; None if it is unknown or ambiguous."""
        if stem in self._ambiguous or stem not in self._places:
            return None
        dialect, one = self._places[stem]
        site = self._sites.get((one.component, one.module, parameter))
        return None if site is None else (dialect, site)

    def is_ambiguous(self, stem: str) -> bool:
        """Whether the stem could be any of several modules."""
        return stem in self._ambiguous


def parts_of(whole: Site, sites: Sequence[Site]) -> list[Site]:
    """The sites that are the rows of a fused one, in their order; none of a site that is one module."""
    parts = [one for one in sites if one.rows is not None and _is_part(one, whole)]
    return sorted(parts, key=lambda one: one.rows or (0, 0))


def _is_part(site: Site, whole: Site) -> bool:
    return (site.component, site.original, site.parameter) == (
        whole.component,
        whole.module,
        whole.parameter,
    )


def _fused(sites: Sequence[Site]) -> Mapping[tuple[str, str], Site]:
    """Tensors that hold several of the sites below one another, each as a site of its own."""
    found: dict[tuple[str, str], Site] = {}
    for site in sites:
        if site.rows is not None:
            key = site.component, site.original
            height = max(site.rows[1], found[key].shape[0] if key in found else 0)
            shape = (height, *site.shape[1:])
            found[key] = Site(site.component, site.original, site.original, shape, site.parameter)
    return found


def stems(site: Site) -> Iterator[tuple[Dialect, str]]:
    """All names of a site, each with the dialect that uses it."""
    for dialect, stem, _ in _spelled(site):
        yield dialect, stem


def _spelled(site: Site) -> Iterator[tuple[Dialect, str, _Spelling]]:
    """The same, with which of its paths is spelled."""
    for dialect, components in DIALECTS.items():
        for prefix, spelling in components[site.component]:
            for path in _paths(site, dialect, spelling):
                yield dialect, join(prefix, path), spelling


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
    if path.endswith(".to_out.0") and (dialect == "diffusers" or site.component == "transformer"):
        yield path.removesuffix(".0")
    if not path.startswith(_CLIP):
        return
    # transformers 5.6 dropped the prefix from CLIPTextModel, and with it everything that names by module.
    yield path.removeprefix(_CLIP)
    parent, _, leaf = path.rpartition(".")
    if dialect == "diffusers" and leaf in _EARLY_NAMES:
        yield f"{parent}.{_EARLY_NAMES[leaf]}"
