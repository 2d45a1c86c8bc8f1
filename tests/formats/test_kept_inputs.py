"""Second moments of inputs on the disk: the very bits, as few bytes as the page about strategies says."""

from pathlib import Path

import pytest
import torch
from cases import check_each
from real_shapes import sd1_header, sdxl_header
from safetensors.torch import save_file

from clora_ext import families
from clora_ext.adapters.moments import FULL_WIDTH, RANK, Moment
from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError
from clora_ext.families.hub import DEMO_MODEL
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.header import Header, read_header
from clora_ext.formats.kept_inputs import kept_bytes, kept_shapes, measured_bytes, read_moments, stored_moment

PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"


def moment(width: int) -> Moment:
    rng = torch.Generator().manual_seed(width)
    if width <= FULL_WIDTH:
        rows = torch.randn(3 * width, width, generator=rng)
        return Moment.of(rows.T @ rows / len(rows))
    return Moment(torch.randn(width, RANK, generator=rng), torch.rand(width, generator=rng))


def test_what_is_kept_comes_back_bit_for_bit_in_its_declared_shapes(tmp_path: Path) -> None:
    widths = {"unet.a": 5, "unet.b.attn1": 96, "unet.c.ff.net.2": FULL_WIDTH + 2}
    moments = {name: moment(width) for name, width in widths.items()}
    stored = {key: one for name in moments for key, one in stored_moment(name, moments[name]).items()}
    for name, width in widths.items():
        shapes = {f"{name}::{part}": shape for part, shape in kept_shapes(width).items()}
        assert {key: tuple(one.shape) for key, one in stored.items() if key.startswith(name)} == shapes
    save_file(stored, tmp_path / "memory.safetensors")
    found = read_moments(Checkpoint(tmp_path / "memory.safetensors"))
    assert found.keys() == moments.keys()
    for name, one in moments.items():
        rounded = one.rounded()
        assert torch.equal(found[name].factor, rounded.factor)
        assert torch.equal(found[name].diagonal, rounded.diagonal)
    layers = [Target("unet", name.removeprefix("unet."), name, (3, width)) for name, width in widths.items()]
    assert kept_bytes(layers) == sum(one.numel() * 2 for one in stored.values())
    sums, held = measured_bytes(layers)
    assert sums == 2 * held == 4 * (5**2 + 96**2 + (FULL_WIDTH + 2) * RANK)


def test_a_triangle_that_is_none_is_refused(tmp_path: Path) -> None:
    def check(tensor: torch.Tensor) -> None:
        save_file({"unet.a::triangle": tensor}, tmp_path / "memory.safetensors")
        with pytest.raises(CheckpointError, match=r"unet\.a::triangle.*no triangle"):
            read_moments(Checkpoint(tmp_path / "memory.safetensors"))

    check_each([torch.zeros(7, dtype=torch.bfloat16), torch.zeros(6)], check)


def layers_of(header: Header, chosen: TargetSet, *, text_encoders: bool = False) -> tuple[Target, ...]:
    return families.detect(header, PAGE).targets(header, chosen, text_encoders=text_encoders)


def test_the_page_says_how_many_bytes_each_model_takes() -> None:
    headers = [read_header(DEMO_MODEL), sd1_header(), sdxl_header()]
    text = PAGE.read_text(encoding="utf-8")

    def check(case: tuple[str, TargetSet, bool]) -> None:
        name, chosen, text_encoders = case
        found = [kept_bytes(layers_of(one, chosen, text_encoders=text_encoders)) / 1e6 for one in headers]
        cells = [f"{megabytes:.1f}" if megabytes < 10 else f"{megabytes:.0f}" for megabytes in found]
        assert f"| {name} | {' | '.join(f'{cell} MB' for cell in cells)} |" in text

    check_each(
        [
            ("`attention`", "attention", False),
            ("`transformer`", "transformer", False),
            ("`attention` and the text encoders", "attention", True),
        ],
        check,
    )
    assert kept_bytes(layers_of(sdxl_header(), "attention")) < 500e6
