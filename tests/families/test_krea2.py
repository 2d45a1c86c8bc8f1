"""What Krea 2 alone asks: both halves of its language model, norms that add in float32, one end of texts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_krea2 import Krea2RMSNorm
from published_files import published_file
from tiny_flow import write_everything, write_tiny_flow
from torch import nn

from clora_ext import families
from clora_ext.errors import CheckpointError
from clora_ext.families.family_data import family_data
from clora_ext.families.flow.norms import widen_norms
from clora_ext.families.flow.text import load_reading
from clora_ext.families.place import find_place
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.flow_keys import QWEN3VL_4B_PREFIX
from clora_ext.formats.models import model_header

FAMILY: Any = families.load("krea2")


def test_norms_add_one_in_float32_whatever_their_weights_are_kept_in() -> None:
    """As diffusers does, which keeps these weights in float32: in bfloat16 one and 0.001 are one."""
    norm = Krea2RMSNorm(8)
    nn.init.constant_(norm.weight, 0.001)
    states = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    wanted = norm(states)
    network = nn.Sequential(norm).bfloat16()
    widen_norms(network)
    torch.testing.assert_close(network(states), wanted, atol=1e-5, rtol=0)
    assert network(states.bfloat16()).dtype == torch.bfloat16


def test_a_long_text_is_cut_before_the_templates_end() -> None:
    reading = load_reading(family_data("krea2")["text"])
    asked, cut = reading.asked("a dog"), reading.asked("猫" * 600)
    assert len(asked) == 34 + 2 + 5
    assert reading.tokenizer.decode(asked[34:]) == "a dog<|im_end|>\n<|im_start|>assistant\n"
    assert (len(cut), cut[:34], cut[-5:]) == (34 + 512, asked[:34], asked[-5:])
    assert set(reading.tokenizer.decode(cut[34:-5])) == {"猫"}


def test_a_language_model_of_the_same_shapes_that_sees_nothing_is_passed_over(tmp_path: Path) -> None:
    """Z-Image's has been taught other things; what tells them apart is what one sees pictures with."""
    krea = published_file(tmp_path / "diffusion_models" / "krea2_raw.safetensors", "krea2")
    published_file(tmp_path / "vae" / "qwen_image_vae.safetensors", "qwen_image_vae")
    text = tmp_path / "text_encoders"
    other = published_file(text / "qwen_3_4b.safetensors", "qwen3_4b")
    with pytest.raises(CheckpointError, match="Qwen3-VL-4B text encoder"):
        FAMILY.check_loading(find_place(krea, {}).header(), krea)
    seeing = published_file(text / "any_name.safetensors", "qwen3vl_4b")
    assert find_place(krea, {}).companions["text_encoder"] == seeing
    with pytest.raises(CheckpointError, match="sees no pictures"):
        find_place(krea, {"text_encoder": other})
    z_image = published_file(tmp_path / "diffusion_models" / "z_image.safetensors", "z_image")
    with pytest.raises(CheckpointError, match="sees pictures, too"):
        find_place(z_image, {"text_encoder": seeing})


def test_what_it_sees_with_is_passed_on_whatever_its_name(tmp_path: Path) -> None:
    files = write_tiny_flow(tmp_path, kind="krea2")
    whole = find_place(files.transformer, {}).open()
    seen = [name for name in whole.names if name.startswith(f"{QWEN3VL_4B_PREFIX}visual.")]
    stored = Checkpoint(files.text_encoder)
    assert len(seen) == len([name for name in stored.names if ".visual." in name]) > 10
    for name in seen:
        own = stored.read(f"model.{name.removeprefix(QWEN3VL_4B_PREFIX)}")
        assert torch.equal(whole.read(name), own)
    FAMILY.check_loading(whole.header, files.transformer)
    blind = write_everything(tmp_path / "x.safetensors", kind="krea2")  # its prefix says what it is
    found = find_place(files.transformer, {"text_encoder": blind}).header()
    assert found.tensors.keys() == model_header(blind).tensors.keys()


def test_modulation_is_stored_in_one_row() -> None:
    names = ("transformer_blocks.1.scale_shift_table", "final_layer.scale_shift_table")
    table = FAMILY.transformer.table(
        {"num_layers": 2, "num_layerwise_text_blocks": 0, "num_refiner_text_blocks": 0}
    )
    assert [table.place(name).flat for name in names] == [True, False]
