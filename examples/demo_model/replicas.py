"""Replicas: each core works on its own share of a batch, and the gradients are averaged.

One process for each core has nothing to wait for within a step. The threads of a single process meet
thousands of times a step instead, and on cores shared with other work that is many times slower.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Protocol

import torch
from torch import Tensor, nn


class Losses(Protocol):
    """What the replicas work on."""

    batch: int

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    def loss(self, count: int, rng: torch.Generator) -> Tensor:
        """The mean loss of the network on ``count`` fresh examples."""


class Replicas:
    """Forked processes that share the network's weights in memory, each with gradients of its own."""

    def __init__(self, task: Losses, count: int) -> None:
        self._share = task.batch // count
        self._live = [parameter for parameter in task.network.parameters() if parameter.requires_grad]
        weights = _shared(self._live)
        for parameter, view in zip(self._live, _views(weights, self._live), strict=True):
            parameter.data = view.copy_(parameter.data)
        self._gradients = [_shared(self._live) for _ in range(count)]
        self._total = torch.zeros_like(weights)
        for parameter, view in zip(self._live, _views(self._total, self._live), strict=True):
            parameter.grad = view
        fork = multiprocessing.get_context("fork")
        self._lines: list[Connection] = []
        for gradients in self._gradients:
            here, there = fork.Pipe()
            fork.Process(target=_work, args=(task, gradients, there), daemon=True).start()
            self._lines.append(here)

    def gradients(self, rng: torch.Generator) -> float:
        """Put the gradients of one batch into the network; gives the loss."""
        seeds = torch.randint(2**62, (len(self._lines),), generator=rng).tolist()
        for line, seed in zip(self._lines, seeds, strict=True):
            line.send((self._share, seed))
        losses = [float(line.recv()) for line in self._lines]
        self._total.copy_(self._gradients[0])
        for gradients in self._gradients[1:]:
            self._total.add_(gradients)
        self._total.div_(len(losses))
        return sum(losses) / len(losses)


def _work(task: Losses, gradients: Tensor, line: Connection) -> None:
    """The life of one process: gradients of its share of every batch, until the line closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    task.network.train()
    live = [parameter for parameter in task.network.parameters() if parameter.requires_grad]
    for parameter, view in zip(live, _views(gradients, live), strict=True):
        parameter.grad = view
    while True:
        try:
            count, seed = line.recv()
        except EOFError:
            return
        gradients.zero_()
        loss = task.loss(count, torch.Generator().manual_seed(seed))
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        line.send(loss.item())


def _shared(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Zeros for all parameters, in memory that forked processes see."""
    flat = torch.zeros(sum(parameter.numel() for parameter in parameters))
    flat.share_memory_()  # type: ignore[no-untyped-call]  # torch does not annotate it
    return flat


def _views(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The parts of ``flat`` with the parameters' shapes and strides."""
    parts = torch.split(flat, [parameter.numel() for parameter in parameters])
    return [
        part.as_strided(parameter.shape, parameter.stride(), part.storage_offset())
        for part, parameter in zip(parts, parameters, strict=True)
    ]
