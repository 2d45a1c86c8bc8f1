"""Residuals restore what rounding loses."""

from pathlib import Path

import torch
from cases import check_each
from exact_state import exact_weights
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from clora_ext.evolving.residual import join, residual

FLOATS = st.lists(st.floats(-60000, 60000, width=32), min_size=1, max_size=50)
# Powers of two, ties and their neighbours, where float16 has few bits or none left, and zeros.
AWKWARD = torch.cat(
    [
        torch.tensor([sign * 2.0**e * (1 + k * 2.0**-d) for d in (23, 12, 11, 9, 8)])
        for sign in (1, -1)
        for e in range(-42, 15)
        for k in (-2, -1, 0, 1, 2, 3)
    ]
    + [torch.tensor([0.0, -0.0, 65504.0, -65519.0])]
)


def check_residuals(exact: torch.Tensor) -> None:
    def check(dtype: torch.dtype) -> None:
        stored = exact.to(dtype)
        kept = residual(exact, stored)
        restored = join(stored, kept)
        missed = (restored.double() - exact.double()).abs()
        if dtype == torch.float16:
            assert bool((missed[exact.abs() >= 2**-15] == 0).all())
            assert float(missed.max()) <= 2**-40
        else:
            ordinary = exact.abs() >= 2**-99
            assert bool((missed[ordinary] <= 2**-23 * exact.abs()[ordinary].double()).all())
            assert bool((missed[~ordinary] <= 2**-122).all())
        assert torch.equal(restored.to(dtype), stored)
        assert torch.equal(residual(restored, stored), kept)

    check_each([torch.float16, torch.bfloat16], check)


@given(FLOATS)
def test_any_value_is_restored_and_what_is_restored_stays(values: list[float]) -> None:
    check_residuals(torch.tensor(values))


def test_awkward_values_are_restored_too() -> None:
    check_residuals(AWKWARD)


def test_the_format_is_what_it_is_said_to_be(tmp_path: Path) -> None:
    """The residual counts 2 ** (e - 24): restored here by float64 and logarithms."""
    exact = AWKWARD[AWKWARD.abs() < 60000]
    stored = exact.half()
    kept = residual(exact, stored)
    save_file({"w": stored}, tmp_path / "c.safetensors")
    save_file({"w::residual": kept}, tmp_path / "m.safetensors")
    found = exact_weights(tmp_path / "c.safetensors", tmp_path / "m.safetensors")
    assert torch.equal(found["w"], join(stored, kept))
