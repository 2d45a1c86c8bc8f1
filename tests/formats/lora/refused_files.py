"""LoRA files of one layer, and what is said of one that is refused."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_sites import sites_of, tiny
from safetensors.torch import save_file
from torch import Tensor

from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.lora.reader import read_lora

RANK = 2


STEM = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


DOTTED = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@cache
def sites(family: str = "sd1") -> list[Site]:
    return sites_of(tiny(family))


def pair(stem: str = STEM, width: int = 8, **other: Tensor) -> dict[str, Tensor]:
    tensors = {"lora_down.weight": torch.ones(RANK, width), "lora_up.weight": torch.ones(8, RANK)}
    return {f"{stem}.{part}": tensor for part, tensor in (tensors | other).items()}


def lettered(stem: str) -> dict[str, Tensor]:
    return {f"{stem}.lora_A.weight": torch.ones(RANK, 8), f"{stem}.lora_B.weight": torch.ones(8, RANK)}


def refusal(
    folder: Path, tensors: Mapping[str, Tensor], of: list[Site] | None = None, metadata: Any = None
) -> CheckpointError:
    save_file(dict(tensors), folder / "x.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match=r"x\.safetensors") as caught:
        read_lora(folder / "x.safetensors", of or sites())
    assert caught.value.fix
    return caught.value
