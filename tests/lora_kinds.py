"""Every kind of adapter by hand: its tensors, and its change by the formulas in LyCORIS' source, in float64.

Each maker is given the shape of a layer's weight and its random numbers; it gives the parts by their names
and the change as a function of the weight, which only DoRA looks at.
"""

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import torch
from real_shapes import tiny_sdxl, write
from tiny_model import write_tiny_model
from torch import Generator, Tensor

from clora_ext import families
from clora_ext.adapters.sites import Target
from clora_ext.formats.checkpoint import Checkpoint

RANK, ALPHA = 3, 2.0
SCALE = ALPHA / RANK
Shape = tuple[int, ...]
Parts = dict[str, Tensor]
ChangeOf = Callable[[Tensor], Tensor]
Maker = Callable[[Shape, Generator], tuple[Parts, ChangeOf]]


def base_of(family: str, folder: Path) -> Path:
    """A very small base of the family."""
    file = folder / f"{family}.safetensors"
    if not file.exists():
        write_tiny_model(file) if family == "sd1" else write(file, tiny_sdxl())
    return file


def parameters_of(base: Path) -> tuple[Target, ...]:
    checkpoint = Checkpoint(base)
    return families.detect(checkpoint.header, base).parameters(checkpoint.header)


def layers_of(base: Path) -> tuple[Target, ...]:
    checkpoint = Checkpoint(base)
    return families.detect(checkpoint.header, base).modules(checkpoint.header)


def numbers(rng: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng) * 0.3


def constant(change: Tensor, shape: Shape) -> ChangeOf:
    return lambda weight: change.reshape(shape)


def alpha() -> Tensor:
    return torch.tensor(ALPHA)


def lora(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """modules/locon.py: up @ down * alpha / rank."""
    down, up = numbers(rng, RANK, *shape[1:]), numbers(rng, shape[0], RANK, *(1 for _ in shape[2:]))
    change = SCALE * up.double().flatten(1) @ down.double().flatten(1)
    return {"lora_down.weight": down, "lora_up.weight": up, "alpha": alpha()}, constant(change, shape)


def lora_tucker(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """functional/general.py, tucker_weight_from_conv."""
    ones = (1, 1) if len(shape) == 4 else ()
    down, up = numbers(rng, RANK, shape[1], *ones), numbers(rng, shape[0], RANK, *ones)
    mid = numbers(rng, RANK, RANK, *shape[2:])
    change = torch.einsum(
        "mn...,im,nj->ij...", mid.double(), up.double().flatten(1), down.double().flatten(1)
    )
    parts = {"lora_down.weight": down, "lora_up.weight": up, "lora_mid.weight": mid, "alpha": alpha()}
    return parts, constant(SCALE * change, shape)


def loha(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """functional/loha.py, HadaWeight: (w1_a @ w1_b) * (w2_a @ w2_b) * scale."""
    columns = prod(shape[1:])
    a1, a2 = (numbers(rng, shape[0], RANK) for _ in range(2))
    b1, b2 = (numbers(rng, RANK, columns) for _ in range(2))
    change = SCALE * (a1.double() @ b1.double()) * (a2.double() @ b2.double())
    parts = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2, "alpha": alpha()}
    return parts, constant(change, shape)


def loha_tucker(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """functional/loha.py, HadaWeightTucker."""
    parts: Parts = {"alpha": alpha()}
    change = torch.tensor(SCALE, dtype=torch.float64)
    for which in "12":
        core, a, b = (
            numbers(rng, RANK, RANK, *shape[2:]),
            numbers(rng, RANK, shape[0]),
            numbers(rng, RANK, shape[1]),
        )
        parts |= {f"hada_t{which}": core, f"hada_w{which}_a": a, f"hada_w{which}_b": b}
        rebuilt = torch.einsum("ij...,jr,ip->pr...", core.double(), b.double(), a.double())
        change = change * rebuilt
    return parts, constant(change, shape)


def _factored(side: int) -> tuple[int, int]:
    """A side as two factors, as LyCORIS' factorization gives them for small sides: the smaller one first."""
    small = max(factor for factor in range(1, int(side**0.5) + 1) if side % factor == 0)
    return small, side // small


def _kron(left: Tensor, right: Tensor, scale: float, shape: Shape) -> ChangeOf:
    """functional/lokr.py, make_kron."""
    left = left.double().reshape(*left.shape, *(1 for _ in right.shape[2:]))
    return constant(scale * torch.kron(left, right.double().contiguous()), shape)


def lokr(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """modules/lokr.py: two whole matrices; "use scale = 1", whatever alpha says."""
    (a, b), (c, d) = _factored(shape[0]), _factored(shape[1])
    left, right = numbers(rng, a, c), numbers(rng, b, d, *shape[2:])
    parts = {"lokr_w1": left, "lokr_w2": right, "alpha": alpha()}
    return parts, _kron(left, right, 1.0, shape)


def lokr_pairs(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """decompose_both: both are pairs of factors, the second one's over the kernel too."""
    (a, b), (c, d) = _factored(shape[0]), _factored(shape[1])
    columns = d * prod(shape[2:])
    parts = {
        "lokr_w1_a": numbers(rng, a, RANK),
        "lokr_w1_b": numbers(rng, RANK, c),
        "lokr_w2_a": numbers(rng, b, RANK),
        "lokr_w2_b": numbers(rng, RANK, columns),
        "alpha": alpha(),
    }
    wide = {name: part.double() for name, part in parts.items()}
    left, right = wide["lokr_w1_a"] @ wide["lokr_w1_b"], wide["lokr_w2_a"] @ wide["lokr_w2_b"]
    return parts, _kron(left, right.reshape(b, d, *shape[2:]), SCALE, shape)


def lokr_half(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """The usual one: the first matrix whole, the second a pair."""
    (a, b), (c, d) = _factored(shape[0]), _factored(shape[1])
    left = numbers(rng, a, c)
    up, down = numbers(rng, b, RANK), numbers(rng, RANK, d * prod(shape[2:]))
    right = (up.double() @ down.double()).reshape(b, d, *shape[2:])
    parts = {"lokr_w1": left, "lokr_w2_a": up, "lokr_w2_b": down, "alpha": alpha()}
    return parts, _kron(left, right, SCALE, shape)


def lokr_tucker(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """functional/general.py, rebuild_tucker of the second matrix."""
    (a, b), (c, d) = _factored(shape[0]), _factored(shape[1])
    left, core = numbers(rng, a, c), numbers(rng, RANK, RANK, *shape[2:])
    up, down = numbers(rng, RANK, b), numbers(rng, RANK, d)
    right = torch.einsum("ij...,ip,jr->pr...", core.double(), up.double(), down.double())
    parts = {"lokr_w1": left, "lokr_t2": core, "lokr_w2_a": up, "lokr_w2_b": down, "alpha": alpha()}
    return parts, _kron(left, right, SCALE, shape)


def full(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
    """modules/full.py: the change itself."""
    change = numbers(rng, *shape)
    return {"diff": change}, constant(change.double(), shape)


def dora(maker: Maker, axis: str, name: str = "dora_scale") -> Maker:
    """functional/general.py, weight_decompose: the weight plus the change, then every norm as it was learned.

    PEFT's ``lora_magnitude_vector`` is that of the outputs; of a convolution it is (1, out, 1, 1).
    """

    def make(shape: Shape, rng: Generator) -> tuple[Parts, ChangeOf]:
        parts, inner = maker(shape, rng)
        side = 0 if axis == "output" else 1
        scale = numbers(rng, shape[side]).abs() + 0.5
        others = [place for place in range(len(shape)) if place != side]
        broadcast = [-1 if place == side else 1 for place in range(len(shape))]
        stored = scale.reshape(broadcast)
        if name != "dora_scale":
            stored = scale if len(shape) == 2 else scale.reshape(1, -1, 1, 1)

        def change(weight: Tensor) -> Tensor:
            moved = weight.double() + inner(weight)
            norm = moved.square().sum(others, keepdim=True).sqrt()
            return moved / norm * scale.double().reshape(broadcast) - weight.double()

        return {**parts, name: stored}, change

    return make


KINDS: Mapping[str, tuple[str, Maker]] = {
    "LoRA": ("LoRA", lora),
    "LoRA, Tucker": ("LoRA", lora_tucker),
    "LoHa": ("LoHa", loha),
    "LoHa, Tucker": ("LoHa", loha_tucker),
    "LoKr": ("LoKr", lokr),
    "LoKr, pairs": ("LoKr", lokr_pairs),
    "LoKr, half": ("LoKr", lokr_half),
    "LoKr, Tucker": ("LoKr", lokr_tucker),
    "full": ("full", full),
    "DoRA of outputs": ("DoRA", dora(lora, "output")),
    "DoRA of inputs": ("DoRA", dora(lora, "input")),
    "DoRA of PEFT": ("DoRA", dora(lora, "output", "lora_magnitude_vector")),
    "LoHa with DoRA": ("LoHa with DoRA", dora(loha, "input")),
    "LoKr with DoRA": ("LoKr with DoRA", dora(lokr_half, "output")),
}
"""What the reader calls each, and its maker."""


def of_one(target: Target, kind: str, seed: int) -> tuple[Parts, ChangeOf]:
    """The parts of one parameter's adapter; a norm or a bias takes its own kind."""
    rng = torch.Generator().manual_seed(seed)
    shape = target.site.shape
    if target.layout != "vector":
        return KINDS[kind][1](shape, rng)
    change = numbers(rng, *shape)
    name = "diff_b" if target.parameter == "bias" else "diff"
    return {name: change}, constant(change.double(), shape)
