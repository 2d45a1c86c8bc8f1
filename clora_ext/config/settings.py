"""How a concept is taught: frozen settings, one place for every default. Needs no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Literal, get_args

from clora_ext import strategies
from clora_ext.errors import SettingsError, UsageError, did_you_mean

__all__ = ["Settings", "TargetSet"]

TargetSet = Literal["attention", "transformer"]
"""Which of the UNet's layers are taught."""

_SEED_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that shapes training and folding of one concept.

    The defaults suit the built-in demo model; what suits another, :func:`clora_ext.suggested_settings` tells.

    Attributes:
        strategy: how new knowledge joins old, one of :func:`clora_ext.strategies.names`.
        strategy_options: the strategy's own options by name.
        steps: optimiser steps.
        rank: rank of the adapter in every layer.
        alpha: the adapter's strength is alpha / rank; None: alpha = rank.
        learning_rate: of AdamW, constant after the warm-up.
        batch_size: pictures in one step.
        seed: decides the adapter's start, the order of pictures and every noise.
        resolution: pixels of a square picture's side; None: the model's own.
        max_grad_norm: gradients are clipped to this norm.
        weight_decay: of AdamW.
        warmup_steps: steps over which the rate rises from 0.
        targets: which of the UNet's layers are taught: ``attention`` (as in arXiv 2410.04891) or
            ``transformer`` (all layers of its transformer blocks, as sd-scripts does).
        text_encoder: whether the text encoders are taught too.
        gradient_checkpointing: compute activations twice instead of keeping them: slower, less memory.
    """

    strategy: str = "mask"
    strategy_options: Mapping[str, str] = field(default_factory=dict)
    steps: int = 200
    rank: int = 8
    alpha: float | None = None
    learning_rate: float = 2e-3
    batch_size: int = 8
    seed: int = 0
    resolution: int | None = None
    max_grad_norm: float = 1.0
    weight_decay: float = 1e-4
    warmup_steps: int = 10
    targets: TargetSet = "transformer"
    text_encoder: bool = False
    gradient_checkpointing: bool = False

    @property
    def effective_alpha(self) -> float:
        """The adapter's alpha as a number."""
        return float(self.rank) if self.alpha is None else self.alpha

    def check(self) -> None:
        """Raise :class:`SettingsError` with every problem at once."""
        problems = [*self._strategy_problems(), *self._target_problems(), *self._number_problems()]
        if problems:
            raise SettingsError(problems)

    def _strategy_problems(self) -> list[str]:
        try:
            strategies.check_name(self.strategy)
        except UsageError as error:
            return [f"{error.message}; {error.fix}"]
        return []

    def _target_problems(self) -> list[str]:
        known = get_args(TargetSet)
        if self.targets in known:
            return []
        return [f"unknown targets {self.targets!r}; {did_you_mean(self.targets, known)}"]

    def _number_problems(self) -> list[str]:
        whole = {"steps": self.steps, "rank": self.rank, "batch-size": self.batch_size}
        problems = [f"{name} must be at least 1, not {value}" for name, value in whole.items() if value < 1]
        positive = {
            "learning-rate": self.learning_rate,
            "alpha": self.effective_alpha,
            "max-grad-norm": self.max_grad_norm,
        }
        problems += [
            f"{name} must be a positive number, not {value}"
            for name, value in positive.items()
            if not (isfinite(value) and value > 0)
        ]
        if not (isfinite(self.weight_decay) and self.weight_decay >= 0):
            problems.append(f"weight-decay must not be negative, it is {self.weight_decay}")
        if self.warmup_steps < 0:
            problems.append(f"warmup-steps must not be negative, it is {self.warmup_steps}")
        if not 0 <= self.seed < _SEED_LIMIT:
            problems.append(f"seed must lie between 0 and 2**63 - 1, it is {self.seed}")
        if self.resolution is not None and self.resolution < 1:
            problems.append(f"resolution must be at least 1, not {self.resolution}")
        return problems

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {**asdict(self), "strategy_options": dict(self.strategy_options)}
