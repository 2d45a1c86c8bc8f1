"""Folding in memory that is used again gives the bits of the formulas, whatever bits it is given."""

from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from safetensors.torch import load_file, save_file
from torch import Tensor

from clora_ext import strategies
from clora_ext.adapters.delta import Delta, DenseDelta
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.scratch import Scratch
from clora_ext.adapters.sites import Target
from clora_ext.events import ignore
from clora_ext.evolving import tensor_pair
from clora_ext.evolving.fold import TrainedConcept, fold
from clora_ext.evolving.model import Evolving
from clora_ext.evolving.residual import join, residual
from clora_ext.formats.checkpoint import Checkpoint

SHAPE = (300, 40)
INTEGERS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}
DTYPES = list(INTEGERS)
GRIDS = {torch.float16: (24, -16), torch.bfloat16: (23, -100)}


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def any_bits(dtype: torch.dtype, seed: int) -> Tensor:
    """Numbers of every size, denormal ones, zeros of both signs and the largest included; all are finite."""
    kind = INTEGERS[dtype]
    least, most = torch.iinfo(kind).min, torch.iinfo(kind).max
    drawn = torch.randint(least, most, SHAPE, generator=rng(seed), dtype=kind).view(dtype)
    largest, tiny = torch.finfo(dtype).max, torch.finfo(dtype).smallest_normal
    drawn[0, :8] = torch.tensor([0.0, -0.0, largest, -largest, tiny, -tiny, tiny / 4, 2 * tiny]).to(dtype)
    return torch.where(torch.isfinite(drawn), drawn, torch.zeros((), dtype=dtype))


def plain_join(stored: Tensor, kept: Tensor) -> Tensor:
    """As the format says it, with new memory for each step."""
    digits, least = GRIDS[stored.dtype]
    near = stored.float()
    binade = (near.view(torch.int32) & 0x7F800000).clamp(min=(127 + least) << 23)
    return near + (binade - (digits << 23)).view(torch.float32) * kept


def plain_residual(exact: Tensor, stored: Tensor) -> Tensor:
    """The same."""
    digits, least = GRIDS[stored.dtype]
    near = stored.float()
    binade = (near.view(torch.int32) & 0x7F800000).clamp(min=(127 + least) << 23)
    steps = (((254 + digits) << 23) - binade).view(torch.float32)
    return ((exact - near) * steps).round().clamp(-32767, 32767).to(torch.int16)


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(INTEGERS.get(tensor.dtype, tensor.dtype))


def test_residuals_have_the_bits_of_the_formulas() -> None:
    """Over and over in the same memory, and of what is stored as infinite too."""
    scratch = Scratch()

    def check(dtype: torch.dtype) -> None:
        for seed in range(20):
            exact = any_bits(torch.float32, seed)
            stored = exact.to(dtype)
            exact[torch.isinf(stored)] = 1.0  # what is not finite has none
            stored[torch.isinf(stored)] = 1.0
            lost = plain_residual(exact, stored)
            for found in (residual(exact, stored), residual(exact, stored, scratch)):
                assert torch.equal(found, lost)
            kept = torch.randint(-32767, 32768, SHAPE, generator=rng(seed), dtype=torch.int16)
            stored[1, :2] = torch.tensor([torch.inf, -torch.inf]).to(dtype)
            for found in (join(stored, kept), join(stored, kept, scratch)):
                assert torch.equal(bits(found), bits(plain_join(stored, kept)))

    check_each(GRIDS, check)


def fitting(base: Tensor, seed: int) -> Tensor:
    """A change by which no number leaves what its dtype can hold."""
    change = any_bits(torch.float32, seed)
    fits = torch.isfinite((base.float() + change).to(base.dtype)) & torch.isfinite(change.to(base.dtype))
    return torch.where(fits, change, torch.zeros(()))


def expected(strategy: str, origin: Tensor, current: Tensor, tau: Tensor) -> Tensor:
    """The layer after a fold, by the strategy's formula."""
    if strategy != "mask":
        return current + tau
    return torch.where(tau.abs() >= (current - origin).abs(), origin + tau, current)


def folded(evolving: Evolving, strategy: str, change: Delta, folder: Path) -> Evolving:
    target = Target("unet", "w", "w", SHAPE)
    concept = TrainedConcept(strategies.load(strategy), strategy, {"w": target}, {"w": change})
    number = evolving.learned + 1
    files = folder / f"current{number}.safetensors", folder / f"memory{number}.safetensors"
    fold(evolving, concept, *files, {}, ignore)
    return Evolving(evolving.origin, Checkpoint(files[0]), Checkpoint(files[1]), number)


def test_two_concepts_have_the_bits_of_the_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the checkpoint and in the memory; of factors and of whole changes; several blocks a layer."""
    monkeypatch.setattr(tensor_pair, "_BLOCK", 1 << 12)

    def check(case: tuple[str, torch.dtype, bool]) -> None:
        strategy, dtype, whole = case
        folder = empty_folder(tmp_path)
        stored = any_bits(dtype, 1) if whole else (torch.randn(SHAPE, generator=rng(1)) * 0.05).to(dtype)
        save_file({"w": stored}, folder / "base.safetensors")
        base = Checkpoint(folder / "base.safetensors")
        evolving = Evolving(base, base, None)
        origin = exact = stored.float()
        for seed in (2, 3):
            change: Delta = factors(seed)
            if whole:
                change = DenseDelta(fitting(exact.to(dtype), seed))
            evolving = folded(evolving, strategy, change, folder)
            exact = expected(strategy, origin, exact, change.delta())
            file = load_file(evolving.current.path)["w"]
            assert torch.equal(bits(file), bits(exact.to(dtype)))
            if dtype in GRIDS:
                assert evolving.memory is not None
                kept = load_file(evolving.memory.path)["w::residual"]
                assert torch.equal(kept, plain_residual(exact, file))
                exact = plain_join(file, kept)

    check_each(
        [(name, dtype, whole) for name in ("merge", "mask") for dtype in DTYPES for whole in (True, False)],
        check,
    )


def factors(seed: int) -> Factors:
    """An adapter whose strength is no power of two."""
    down, up = (
        torch.randn(7, SHAPE[1], generator=rng(seed)),
        torch.randn(SHAPE[0], 7, generator=rng(seed + 9)),
    )
    return Factors(down * 0.1, up * 0.01, 5.0)
