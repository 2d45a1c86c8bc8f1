"""An optimiser with what half precision and averaged weights ask for.

In half precision the loss is scaled, and steps whose gradients overflow are left out. Where steps are
averaged, what has been learned is the average, and not what the next step starts from.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite

import torch
from torch import Tensor, nn

from clora_ext.config.algorithm_settings import OPTIMIZERS
from clora_ext.config.precision import Precision
from clora_ext.config.settings import AlgorithmSettings, OptimizerSettings
from clora_ext.errors import TrainingError

from .averages import Average, MovingAverage, OptimizersOwn
from .optimizers import make_optimizer

__all__ = ["TrainingOptimizer"]

# The scale is halved each time: from its usual 65536, this many lead to less than a millionth.
_MOST_SKIPPED_IN_A_ROW = 40
_PLAIN = AlgorithmSettings()


class TrainingOptimizer:
    """Turns losses into changed parameters.

    Args:
        parameters: float32, in groups: each with the multiple of the learning rate that it learns at. An
            optimiser that finds its own rate has one for all.
        settings: rate, decay, and the norm to which gradients are clipped; 0: they are not.
        precision: of the frozen model. In float16 the loss is scaled, and a step whose gradients overflow is
            left out: the parameters and the optimiser's own count of steps stay, and the scale is halved.
        algorithm: which optimiser.
        moving: the average of its steps that is learned; None: what the optimiser says has been learned.
        undecayed: parameters that weight decay would take somewhere else than to no change; whole groups.
    """

    def __init__(
        self,
        parameters: Sequence[tuple[Sequence[nn.Parameter], float]],
        settings: OptimizerSettings,
        precision: Precision,
        algorithm: AlgorithmSettings = _PLAIN,
        moving: MovingAverage | None = None,
        undecayed: Iterable[nn.Parameter] = (),
    ) -> None:
        kind = OPTIMIZERS[algorithm.optimizer_type]
        self._parameters = [parameter for group, _ in parameters for parameter in group]
        self._factors = [1.0 if kind.own_rate else factor for _, factor in parameters]
        self._max_grad_norm = settings.max_grad_norm
        self._scaler = torch.amp.GradScaler(precision.device.type, enabled=precision.needs_scaling)
        self._optimizer = make_optimizer(
            [group for group, _ in parameters], settings, algorithm, precision, undecayed
        )
        self._skipped = 0
        self._average: Average | None = OptimizersOwn(self._optimizer) if kind.averages else moving

    @property
    def parts(self) -> tuple[torch.optim.Optimizer, torch.amp.GradScaler]:
        """What has to be kept to go on later."""
        return self._optimizer, self._scaler

    def backward(self, loss: Tensor) -> None:
        """Add to the parameters' gradients."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # of torch's Tensor

    def clip(self) -> Tensor:
        """Clip the gradients; gives their norm before, a scalar."""
        self._scaler.unscale_(self._optimizer)
        return nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm or torch.inf)

    def step(self, rate: float) -> None:
        """Change the parameters at a learning rate."""
        for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
            group["lr"] = rate * factor
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()

    def acting_rate(self, rate: float) -> float:
        """The rate that acts: of an optimiser that finds it, its own times the given one."""
        found = self._optimizer.param_groups[0].get("d", 1.0)
        return rate * float(found)

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """While it is entered, the parameters are what has been learned; after it they are as before it."""
        if self._average is None:
            yield
            return
        trained = [parameter.detach().clone() for parameter in self._parameters]
        self._average.show()
        try:
            yield
        finally:
            self._average.hide()
            for parameter, value in zip(self._parameters, trained, strict=True):
                parameter.data.copy_(value)

    def finish(self) -> bool:
        """From now on the parameters are what has been learned; gives whether that changed them."""
        if self._average is None:
            return False
        self._average.show()
        return True

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
