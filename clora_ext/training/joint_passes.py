"""Passes through a network whose weights are shared out: each needs the parts of all processes.

In a training step all processes make the same ones by themselves. What the first one computes alone beside
the steps, such as previews and validations, the others compute along with the inputs that it tells them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from clora_ext.config.precision import Precision, to_device

from .team import Team

__all__ = ["JointPasses"]

_OVER = None


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a pass is made with.

    Attributes:
        arguments: of the network, tensors on the processor.
        named: likewise, by name.
        is_mixed: whether numbers are cast to the frozen weights' dtype.
        has_gradients: whether one way back follows.
    """

    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    is_mixed: bool
    has_gradients: bool


class JointPasses:
    """The passes that are not part of a training step.

    Args:
        network: whose weights are shared out.
        trained: parameters inside, which gradients are asked of.
        team: all processes.
        precision: where the network computes.
    """

    def __init__(
        self, network: nn.Module, trained: Sequence[nn.Parameter], team: Team, precision: Precision
    ) -> None:
        self._network = network
        self._trained = trained
        self._team = team
        self._precision = precision

    @contextmanager
    def led(self) -> Iterator[None]:
        """While the first process is in it, the others are in :meth:`follow`, and it may make any passes.

        After each pass with gradients it has to go one way back before the next.

        Raises:
            Cancelled, PeerFailed: as :meth:`clora_ext.training.team.Team.meet`.
        """
        # Before torch's own hook, which gathers the weights.
        told = self._network.register_forward_pre_hook(self._tell, prepend=True, with_kwargs=True)
        try:
            with self._team.in_step():
                yield
        finally:
            told.remove()
        self._team.hear_first(_OVER)

    def follow(self) -> None:
        """Compute along until the first process leaves :meth:`led`.

        Raises:
            Cancelled, PeerFailed: as :meth:`clora_ext.training.team.Team.meet`.
        """
        while True:
            told = self._team.hear_first(_OVER)
            if told is _OVER:
                return
            with self._team.in_step():
                self._make(_Pass(*told))

    def meet(self) -> None:
        """Wait for all before the passes of a batch, where nothing ends the waiting.

        Raises:
            Cancelled, PeerFailed: as :meth:`clora_ext.training.team.Team.meet`.
        """
        self._team.meet()

    def _tell(self, network: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """What a pass is about to be made with."""
        del network
        arguments, named = tree_map(_to_tell, (arguments, named))
        is_mixed = torch.is_autocast_enabled(self._precision.device.type)
        told = _Pass(arguments, named, is_mixed, torch.is_grad_enabled())
        self._team.hear_first((told.arguments, told.named, told.is_mixed, told.has_gradients))

    def _make(self, asked: _Pass) -> None:
        """The same pass; what comes of it is the first process's."""
        arguments, named = tree_map(self._here, (asked.arguments, asked.named))
        with torch.set_grad_enabled(asked.has_gradients):
            with self._precision.autocast() if asked.is_mixed else nullcontext():
                found = self._network(*arguments, **named)
            if asked.has_gradients:
                total = torch.stack([one.float().sum() for one in tree_leaves(found) if _learns(one)]).sum()
                torch.autograd.grad(total, self._trained, allow_unused=True)

    def _here(self, value: object) -> object:
        return to_device(value, self._precision.device) if isinstance(value, Tensor) else value


def _to_tell(value: object) -> object:
    """Tensors on their own: safetensors takes no two views of one."""
    return value.detach().cpu().clone() if isinstance(value, Tensor) else value


def _learns(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad
