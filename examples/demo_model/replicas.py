"""Replicas: each core works on its own share of a batch, and the gradients are averaged.

One thread for each replica has nothing to wait for within a step. The threads of a single forward pass meet
thousands of times a step instead, and on cores that are shared with other work that is many times slower.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor, nn


class Losses(Protocol):
    """What the replicas work on."""

    batch: int

    def loss(self, network: nn.Module, count: int, rng: torch.Generator) -> Tensor:
        """The mean loss of ``network`` on ``count`` fresh examples."""


class Replicas:
    """Copies of a network that share its weights, each with gradients of its own."""

    def __init__(self, network: nn.Module, count: int) -> None:
        self._network = network
        self._copies = [_sharing(network) for _ in range(count)]
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))

    def gradients(self, task: Losses, rng: torch.Generator) -> float:
        """Put the gradients of one batch into the network; gives the loss."""
        seeds = torch.randint(2**62, (len(self._copies),), generator=rng).tolist()
        count = task.batch // len(self._copies)
        losses = list(
            self._pool.map(lambda copy, seed: _backward(task, copy, count, seed), self._copies, seeds)
        )
        groups = [[p for p in network.parameters() if p.requires_grad] for network in self._copies]
        total = [_gradient(parameter) for parameter in groups[0]]
        for group in groups[1:]:
            torch._foreach_add_(total, [_gradient(parameter) for parameter in group])
        torch._foreach_div_(total, float(len(groups)))
        live = [parameter for parameter in self._network.parameters() if parameter.requires_grad]
        for parameter, gradient in zip(live, total, strict=True):
            parameter.grad = gradient
        for network in self._copies:
            network.zero_grad(set_to_none=True)
        return sum(losses) / len(losses)


def _sharing(network: nn.Module) -> nn.Module:
    """A copy whose parameters are the same memory."""
    twin = copy.deepcopy(network)
    for parameter, original in zip(twin.parameters(), network.parameters(), strict=True):
        parameter.data = original.data
    return twin


def _backward(task: Losses, network: nn.Module, count: int, seed: int) -> float:
    """Gradients of one share of the batch, left in ``network``."""
    loss = task.loss(network, count, torch.Generator().manual_seed(seed))
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    return loss.item()


def _gradient(parameter: nn.Parameter) -> Tensor:
    """Its gradient; zero where a batch did not touch it."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
