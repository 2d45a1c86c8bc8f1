"""What LoRA files of Flux.2 klein alone may hold that cannot be read."""

from pathlib import Path

import pytest
from flow_families import KLEIN
from lora_sites import random_factors
from safetensors.torch import save_file
from tiny_flow import write_tiny_flow

from clora_ext import families
from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.models import model_header


def test_the_last_modulation_by_diffusers_name_is_refused(tmp_path: Path) -> None:
    """Its rows are exchanged there, and programs disagree about who exchanges them back."""
    header = model_header(write_tiny_flow(tmp_path, kind=KLEIN.name).transformer)
    sites = [target.site for target in families.load(KLEIN.name).parameters(header)]
    other = Site("transformer", "norm_out.linear", "norm_out.linear", (64, 32))
    tensors = {}
    for site, one in random_factors([other, *KLEIN.layers(sites)]).items():
        tensors[f"transformer.{site.module}.lora_A.weight"] = one.down.contiguous()
        tensors[f"transformer.{site.module}.lora_B.weight"] = one.up.contiguous()
    file = tmp_path / "x.safetensors"
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"norm_out\.linear"):
        read_lora(file, sites)
