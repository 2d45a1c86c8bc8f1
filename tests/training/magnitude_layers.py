"""Layers with a DoRA of peft, and with the magnitudes that are trained here in its place."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from clora_ext.adapters.decomposed import RowReader, TrainedDecomposition
from clora_ext.adapters.factors import Factors
from clora_ext.training.magnitudes import Magnitudes

RANK, ALPHA, NAME = 4, 3.0, "concept"
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(12, 20),
    "without a bias": lambda: nn.Linear(20, 12, bias=False),
    "3 x 3": lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1),
    "1 x 1": lambda: nn.Conv2d(6, 8, 1, bias=False),
}


@dataclass
class Adapted:
    """A layer with a DoRA of peft, and the parts of it."""

    layer: BaseTunerLayer

    @property
    def parts(self) -> dict[str, nn.Parameter]:
        inside: Any = self.layer
        return {
            "down": inside.lora_A[NAME].weight,
            "up": inside.lora_B[NAME].weight,
            "magnitude": inside.lora_magnitude_vector[NAME].weight,
        }

    @property
    def factors(self) -> Factors:
        down, up = (self.parts[one].detach().flatten(1).clone() for one in ("down", "up"))
        return Factors(down, up, ALPHA)

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found


def adapted(layer: nn.Module, seed: int = 0, *, up: float = 0.3) -> Adapted:
    """With chance in both halves; the upper one ``up`` times a normal distribution."""
    module = nn.Sequential(deepcopy(layer))
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["0"], use_dora=True)  # type: ignore[arg-type]
    inject_adapter_in_model(config, module, adapter_name=NAME)
    (found,) = (one for one in module.modules() if isinstance(one, BaseTunerLayer))
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part, scale in (("down", 0.3), ("up", up)):
            parameter = Adapted(found).parts[part]
            parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
    return Adapted(found)


def with_ours(layer: nn.Module, seed: int = 0, *, up: float = 0.3) -> tuple[Adapted, Magnitudes]:
    """The same with the magnitudes that are trained here."""
    found = adapted(layer, seed, up=up)
    return found, Magnitudes.of(found.layer, NAME, found.factors)


def moved(*layers: Adapted, by: float = 0.3) -> None:
    """As if the magnitudes had been trained."""
    for one in layers:
        parameter = one.parts["magnitude"]
        rng = torch.Generator().manual_seed(7)
        with torch.no_grad():
            parameter.mul_(1 + by * torch.rand(parameter.numel(), generator=rng).reshape(parameter.shape))


def inputs(kind: str, layer: nn.Module) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    shape = (2, 6, 7, 7) if "x" in kind else (2, 5, layer.in_features)
    return torch.randn(shape, generator=rng)  # type: ignore[arg-type]  # in_features is a number


def reader(layer: nn.Module) -> RowReader:
    matrix = layer.get_parameter("weight").detach().flatten(1).float()
    return lambda start, stop: matrix[start:stop].clone()


def learned(adapter: Adapted, magnitudes: Magnitudes) -> TrainedDecomposition:
    return magnitudes.learned(adapter.factors)


def made(kind: str) -> nn.Module:
    torch.manual_seed(len(kind))
    return LAYERS[kind]()
