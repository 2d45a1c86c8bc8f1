"""LoRA files of every dialect, named by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site


def under(path: str) -> str:
    return path.replace(".", "_")


def text(site: Site, first: str, second: str) -> str:
    return first if site.component == "text_encoder" else second


def kohya(site: Site, te1: str, path: str) -> str:
    return (
        "lora_unet_" + under(path)
        if site.component == "unet"
        else text(site, te1, "lora_te2_") + under(site.module)
    )


def early(site: Site) -> str:
    """What diffusers 0.14 to 0.20 called the projections of attention."""
    stem = f"{site.component}.{site.module}"
    if site.component == "unet" and ".attn" in stem:
        head, _, leaf = stem.rpartition(".to_")
        return f"{head}.processor.to_{leaf.removesuffix('.0')}_lora"
    for now, then in {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}.items():
        if stem.endswith(now):
            return stem.removesuffix(now) + f"{then}_lora"
    return f"{stem}.lora_linear_layer" if site.component != "unet" else f"{stem}.lora"


Namer = Callable[[Site], str]
DOTTED: dict[str, tuple[str, Namer]] = {
    "kohya, diffusers' blocks": ("kohya", lambda site: kohya(site, "lora_te_", site.module) + ".lora_"),
    "kohya, SAI's blocks": ("kohya", lambda site: kohya(site, "lora_te1_", site.original) + ".lora_"),
    "comfyui": (
        "comfyui",
        lambda site: (
            f"diffusion_model.{site.original}.lora_"
            if site.component == "unet"
            else f"text_encoders.{text(site, 'clip_l', 'clip_g')}.transformer.{site.module}.lora_"
        ),
    ),
    "onetrainer's own": (
        "onetrainer",
        lambda site: (
            f"lora_unet.{site.module}.lora_"
            if site.component == "unet"
            else f"{text(site, 'lora_te1', 'lora_te2')}.{site.module}.lora_"
        ),
    ),
    "onetrainer's omi": (
        "onetrainer",
        lambda site: (
            f"unet.{site.original}.lora_"
            if site.component == "unet"
            else f"{text(site, 'clip_l', 'clip_g')}.{site.module}.lora_"
        ),
    ),
    "peft in diffusers": ("diffusers", lambda site: f"{site.component}.{site.module}.lora_"),
    "diffusers before peft": (
        "diffusers",
        lambda site: (
            f"unet.{site.module}.lora."
            if site.component == "unet"
            else f"{site.component}.{site.module}.lora_linear_layer."
        ),
    ),
    "diffusers, linear layers": (
        "diffusers",
        lambda site: f"{site.component}.{site.module}.lora_linear_layer.",
    ),
    "early diffusers": ("diffusers", lambda site: early(site) + "."),
}
LETTERED = {"peft in diffusers"}


def tensors_of(dialect: str, factors: Mapping[Site, Factors], *, alpha: bool = True) -> dict[str, Tensor]:
    down, up = ("A", "B") if dialect in LETTERED else ("down", "up")
    tensors = {}
    for site, adapter in factors.items():
        name = DOTTED[dialect][1](site)
        tensors[f"{name}{down}.weight"] = adapter.down.reshape(adapter.rank, *site.shape[1:]).contiguous()
        tensors[f"{name}{up}.weight"] = adapter.up.reshape(*adapter.up.shape, *(1 for _ in site.shape[2:]))
        if alpha:
            tensors[name.removesuffix(".lora_").removesuffix(".") + ".alpha"] = torch.tensor(adapter.alpha)
    return tensors


def save(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    save_file(dict(tensors), file, metadata=dict(metadata) if metadata else None)
    return file
