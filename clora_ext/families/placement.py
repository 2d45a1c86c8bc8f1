"""Which networks of a model lie on the accelerator: the one that works, and others as far as there is room.

A language model and a transformer need not be there together: texts are read first.
"""

from dataclasses import dataclass

import torch
from torch import nn

from clora_ext.config.memory import free_memory, release_device_memory

__all__ = ["Placement", "lay_aside"]

_ASIDE = torch.device("cpu")
_FREED = "meta"  # the device of what has no memory, and gets none


@dataclass(frozen=True)
class Placement:
    """Where the networks of one model lie.

    Attributes:
        device: that computes.
        movable: networks that may lie aside while they do not work, the first to go first.
    """

    device: torch.device
    movable: tuple[nn.Module, ...]

    def fetch(self, network: nn.Module) -> None:
        """Have a network on the device if it may move; others go as far as it needs their room."""
        if network not in self.movable or _place(network) in {self.device.type, _FREED}:
            return
        self.make_room(_bytes(network), network)
        network.to(self.device)

    def fetch_if_room(self, network: nn.Module) -> None:
        """Have a network on the device if no other has to go for it."""
        if self.device.type == _ASIDE.type or free_memory(self.device) >= _bytes(network):
            network.to(self.device)

    def make_room(self, needed: int, working: nn.Module | None = None) -> None:
        """Lay networks aside until so many bytes are free; all but the one that works.

        What is on a processor stays: there is no other place.
        """
        if self.device.type == _ASIDE.type:
            return
        if free_memory(self.device) < needed:
            release_device_memory()
        for network in self.movable:
            if free_memory(self.device) >= needed:
                return
            if network is not working and _place(network) == self.device.type:
                network.to(_ASIDE)
                release_device_memory()


def lay_aside(network: nn.Module, device: torch.device) -> None:
    """Free the accelerator's memory of a network that has lain on ``device``, until it is brought back."""
    if device.type != _ASIDE.type:
        network.to(_ASIDE)
        release_device_memory()


def _place(network: nn.Module) -> str:
    """The kind of device that it lies on."""
    return str(next(network.parameters()).device.type)


def _bytes(network: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
