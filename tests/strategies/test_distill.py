"""The distance from the answers before: nothing while nothing is learned, and no gradient for the teacher."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clora_ext.strategies import load
from clora_ext.strategies.objective import NoisedBatch, ReplayBatch, TrainingAccess

GENERATOR = torch.Generator().manual_seed(0)


class Network(nn.Module):
    """A linear layer over each pixel's channels with an adapter, and no more of a model than is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.randn(4, 4, generator=GENERATOR)
        self.change = nn.Parameter(torch.zeros(4, 4))
        self.passes = 0

    def predict(self, latents: Tensor, times: Tensor, condition: dict[str, Tensor]) -> Tensor:
        self.passes += 1
        told = condition["states"].mean(dim=(1, 2)) + times
        return torch.einsum("oc,nchw->nohw", self.frozen + self.change, latents) + told[:, None, None, None]

    def collate(self, conditions: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {"states": torch.cat([one["states"] for one in conditions])}


@dataclass(frozen=True)
class PlainError:
    """The mean squared error of latents that are given."""

    shown: NoisedBatch

    def loss(self, model: Any, batch: Any, seed: int, step: int, device: torch.device) -> Tensor:
        return self.error(model, self.shown, model.predict(self.shown.noised, self.shown.times,
                                                           self.shown.condition))  # fmt: skip

    def show(self, model: Any, batch: Any, seed: int, step: int, device: torch.device) -> NoisedBatch:
        return self.shown

    def error(self, model: Any, shown: NoisedBatch, predicted: Tensor) -> Tensor:
        return (predicted - shown.noise).square().mean()


def random_batch(count: int, side: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    latents = torch.randn(count, 4, side, side, generator=GENERATOR)
    return latents, torch.rand(count, generator=GENERATOR), {
        "states": torch.randn(count, 3, 5, generator=GENERATOR)
    }  # fmt: skip


@contextmanager
def nothing_inside() -> Iterator[None]:
    yield


def measured(strength: float, side: int, change: float) -> tuple[float, float, Tensor, int]:
    """The loss with the distance, without it, the gradient, and forward passes."""
    network = Network()
    latents, times, condition = random_batch(3, side)
    shown = NoisedBatch(latents, torch.zeros_like(latents), times, latents, condition)
    asked_latents, asked_times, asked_condition = random_batch(5, 6)
    with torch.no_grad():
        answers = network.predict(asked_latents, asked_times, asked_condition)
        network.change += change
    replay = ReplayBatch(asked_latents, asked_times, asked_condition, answers)
    default = PlainError(shown)
    network.passes = 0
    strategy = load("distill", {"strength": strength})
    objective = strategy.objective(default, TrainingAccess(network, nothing_inside, lambda step: replay))
    loss = objective.loss(network, [], 0, 0, torch.device("cpu"))
    passes = network.passes
    loss.backward()
    assert network.change.grad is not None
    plain = default.loss(network, [], 0, 0, torch.device("cpu"))
    expected = plain + strength * (change * asked_latents.sum(dim=1)).square().mean()
    torch.testing.assert_close(loss, expected)
    return float(loss.detach()), float(plain.detach()), network.change.grad, passes


def test_the_distance_is_nothing_where_the_adapter_is() -> None:
    for side in (6, 4):
        with_it, without, _, _ = measured(1.5, side, change=0.0)
        assert with_it == without


def test_the_distance_counts_by_its_strength() -> None:
    weak, plain, _, _ = measured(0.5, 6, change=0.1)
    strong, _, _, _ = measured(5.0, 6, change=0.1)
    assert plain < weak < strong


def test_pictures_of_one_size_take_one_forward_pass() -> None:
    assert measured(1.5, 6, change=0.1)[3] == 1
    assert measured(1.5, 4, change=0.1)[3] == 2


def test_nothing_is_asked_where_nothing_counts() -> None:
    strategy = load("distill", {"strength": 0})
    default = object()
    assert strategy.row_rate() == 0
    assert strategy.objective(default, TrainingAccess(None, nothing_inside, None)) is default
