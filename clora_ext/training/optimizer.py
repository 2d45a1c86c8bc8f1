"""AdamW with what half precision asks for: a loss that is scaled, and steps that are left out."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from clora_ext.config.precision import Precision
from clora_ext.config.settings import OptimizerSettings
from clora_ext.errors import TrainingError

__all__ = ["TrainingOptimizer"]

# The scale is halved each time: from its usual 65536, this many lead to less than a millionth.
_MOST_SKIPPED_IN_A_ROW = 40


class TrainingOptimizer:
    """Turns a loss into changed parameters.

    Args:
        parameters: float32, in groups: each with the multiple of the learning rate that it learns at.
        settings: rate, decay, and the norm to which gradients are clipped.
        precision: of the frozen model. In float16 the loss is scaled, and a step whose gradients overflow is
            left out: the parameters and the optimiser's own count of steps stay, and the scale is halved.
    """

    def __init__(
        self,
        parameters: Sequence[tuple[Sequence[nn.Parameter], float]],
        settings: OptimizerSettings,
        precision: Precision,
    ) -> None:
        self._parameters = [parameter for group, _ in parameters for parameter in group]
        self._factors = [factor for _, factor in parameters]
        self._max_grad_norm = settings.max_grad_norm
        self._scaler = torch.amp.GradScaler(precision.device.type, enabled=precision.needs_scaling)
        # The fused one leaves a step out by itself; for any other, the scaler has to wait for the verdict.
        decides_on_gpu = precision.needs_scaling and precision.device.type == "cuda"
        self._optimizer = torch.optim.AdamW(
            [{"params": group} for group, _ in parameters],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True if decides_on_gpu else None,
        )
        self._skipped = 0

    @property
    def parts(self) -> tuple[torch.optim.Optimizer, torch.amp.GradScaler]:
        """What has to be kept to go on later."""
        return self._optimizer, self._scaler

    def gradients(self, loss: Tensor) -> Tensor:
        """Fill the parameters' gradients and clip them; gives their norm before, a scalar."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # of torch's Tensor
        self._scaler.unscale_(self._optimizer)
        return nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm)

    def step(self, rate: float) -> None:
        """Change the parameters at a learning rate."""
        for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
            group["lr"] = rate * factor
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()

    def check_norm(self, norm: float, step: int, rate: float) -> None:
        """Refuse gradients that are not finite, unless the step was left out for it.

        Raises:
            TrainingError: the parameters are spoilt, or no scale of the loss helps.
        """
        if isfinite(norm):
            self._skipped = 0
            return
        if not self._scaler.is_enabled():
            message = f"the gradients became {norm} at step {step + 1}: the adapter has diverged"
            raise TrainingError(message, fix=f"use a lower --learning-rate than {rate:g}")
        self._skipped += 1
        if self._skipped > _MOST_SKIPPED_IN_A_ROW:
            message = f"the gradients overflow float16 at every scale of the loss, up to step {step + 1}"
            fix = f"use a lower --learning-rate than {rate:g}, or a GPU with bfloat16"
            raise TrainingError(message, fix=fix)
