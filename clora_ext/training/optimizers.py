"""Optimisers of other libraries, made as the settings ask for them."""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import nn

from clora_ext.config.algorithm_settings import OPTIMIZERS, AlgorithmSettings, optimizer_arguments
from clora_ext.config.precision import Precision
from clora_ext.config.settings import OptimizerSettings

__all__ = ["make_optimizer"]

# torch's own ways to compute; the fused one leaves a step that overflowed out by itself.
_FUSED = frozenset({"AdamW"})


def make_optimizer(
    parameters: Sequence[Sequence[nn.Parameter]],
    settings: OptimizerSettings,
    algorithm: AlgorithmSettings,
    precision: Precision,
    undecayed: Iterable[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """The optimiser of these groups of parameters.

    Args:
        parameters: float32.
        settings: rate and decay.
        algorithm: which optimiser, with which arguments of its own; they count more.
        precision: of the frozen model.
        undecayed: parameters that do not decay; of a group all or none.
    """
    kind = OPTIMIZERS[algorithm.optimizer_type]
    arguments = {"weight_decay": settings.weight_decay, **optimizer_arguments(algorithm.optimizer_args)}
    rate: float | None = settings.learning_rate
    if algorithm.optimizer_type == "Adafactor" and arguments.get("relative_step", True):
        rate = None  # it has its own
    if algorithm.optimizer_type in _FUSED and precision.device.type == "cuda":
        arguments["fused"] = True
    kept = {id(one) for one in undecayed}
    groups: list[dict[str, Any]] = [
        {"params": list(group), **({"weight_decay": 0.0} if id(group[0]) in kept else {})}
        for group in parameters
    ]
    made: torch.optim.Optimizer = getattr(import_module(kind.module), kind.name)(groups, lr=rate, **arguments)
    return made
