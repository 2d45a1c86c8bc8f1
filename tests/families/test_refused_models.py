"""Models that clora does not teach are recognised and refused by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from real_shapes import (
    sd1_header,
    sdxl_header,
)

from clora_ext import families
from clora_ext.errors import CheckpointError
from clora_ext.families.latent.layout import OriginalLayout
from clora_ext.formats.header import Header, TensorInfo

HERE = Path("x.safetensors")


def config(header: Header) -> Mapping[str, Any]:
    family = families.detect(header, HERE)
    assert isinstance(family, OriginalLayout)
    return family.config(header, HERE)


def with_tensors(header: Header, **shapes: tuple[int, ...]) -> Header:
    extra = {name.replace("__", "."): TensorInfo("F16", shape, 0, 0) for name, shape in shapes.items()}
    return Header({**header.tensors, **extra}, header.metadata)


def without(header: Header, prefix: str) -> Header:
    return Header({name: info for name, info in header.tensors.items() if not name.startswith(prefix)})


def sd2() -> Header:
    return with_tensors(sd1_header(), cond_stage_model__model__ln_final__weight=(1024,))


def component() -> Header:
    return with_tensors(Header({}), down_blocks__0__resnets__0__conv1__weight=(4, 8))


def inpainting() -> Header:
    first = {"model__diffusion_model__input_blocks__0__0__weight": (320, 9, 3, 3)}
    return with_tensors(sd1_header(), **first)


def refiner() -> Header:
    header = without(sdxl_header(), "conditioner.")
    return with_tensors(header, conditioner__embedders__0__model__ln_final__weight=(1280,))


REFUSED: list[tuple[Callable[[], Header], str]] = [
    (inpainting, "inpainting"),
    (refiner, "refiner"),
    (sd2, "Stable Diffusion 2"),
    (lambda: with_tensors(sdxl_header(), edm_vpred__sigma_max=()), "EDM"),
    (lambda: without(sd1_header(), "cond_stage_model."), "without text encoder"),
    (lambda: without(sdxl_header(), "conditioner.embedders.0."), "one of its two text encoders"),
    (lambda: without(sdxl_header(), "first_stage_model."), "no VAE"),
    (lambda: with_tensors(Header({}), lora_unet_x__lora_down__weight=(4, 8)), "LoRA"),
    (lambda: with_tensors(Header({}), unet_x__lora_A__default__weight=(4, 8)), "LoRA"),
    (lambda: with_tensors(Header({}), double_blocks__0__img_attn__qkv__weight=(4, 8)), "Flux"),
    (component, "diffusers folder"),
]


def test_what_is_recognised_and_not_taught_is_refused_by_name() -> None:
    for make, words in REFUSED:
        with pytest.raises(CheckpointError, match=words) as caught:
            families.detect(make(), HERE)
        assert "x.safetensors" in caught.value.message
        assert caught.value.fix


def test_eight_bit_checkpoints_are_refused_by_name() -> None:
    header = sd1_header()
    name = "model.diffusion_model.out.2.weight"
    info = header.tensors[name]
    eight = TensorInfo("F8_E4M3", info.shape, info.start, info.end)
    with pytest.raises(CheckpointError, match="8 bits"):
        families.detect(Header({**header.tensors, name: eight}), HERE)
