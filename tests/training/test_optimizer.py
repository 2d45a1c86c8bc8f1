"""A step in float16: the loss is scaled, and what overflows is left out and not counted."""

import pytest
import torch
from torch import nn

from clora_ext.config.precision import Precision
from clora_ext.config.settings import OptimizerSettings
from clora_ext.errors import TrainingError
from clora_ext.training.optimizer import TrainingOptimizer

HALF = Precision(torch.device("cpu"), torch.float16, "a test")
FULL = Precision(torch.device("cpu"), torch.float32, "a test")


def made(precision: Precision) -> tuple[nn.Parameter, TrainingOptimizer]:
    parameter = nn.Parameter(torch.ones(3))
    return parameter, TrainingOptimizer([([parameter], 1.0)], OptimizerSettings(learning_rate=0.1), precision)


def step(optimizer: TrainingOptimizer, loss: torch.Tensor) -> float:
    optimizer.backward(loss)
    norm = float(optimizer.clip())
    optimizer.step(0.1)
    return norm


def test_a_scaled_step_is_the_step() -> None:
    values = []
    for precision in (HALF, FULL):
        parameter, optimizer = made(precision)
        for number in range(3):
            assert step(optimizer, (parameter * (number + 1)).square().sum()) > 1
        values.append(parameter.detach())
    torch.testing.assert_close(*values)


def test_gradients_are_clipped_as_they_are_without_the_scale() -> None:
    parameter, optimizer = made(HALF)
    optimizer.backward((parameter * 100).sum())
    norm = optimizer.clip()
    torch.testing.assert_close(norm, torch.tensor(3**0.5 * 100))
    assert parameter.grad is not None
    torch.testing.assert_close(parameter.grad.norm(), torch.tensor(1.0))


def test_a_step_that_overflows_changes_nothing_and_is_not_counted() -> None:
    parameter, optimizer = made(HALF)
    step(optimizer, parameter.sum())
    before = parameter.detach().clone()
    # The loss is finite and its gradient too; times the scale it is not.
    norm = step(optimizer, (parameter * 1e35).sum())
    optimizer.check_norm(norm, 1, 0.1)
    assert torch.equal(parameter, before)
    adam, scaler = optimizer.parts
    assert float(adam.state[parameter]["step"]) == 1
    assert scaler.get_scale() == 32768
    step(optimizer, parameter.sum())
    assert float(adam.state[parameter]["step"]) == 2
    assert not torch.equal(parameter, before)


def test_in_float32_gradients_that_are_not_finite_end_the_training() -> None:
    parameter, optimizer = made(FULL)
    norm = step(optimizer, (parameter * float("inf")).sum())
    with pytest.raises(TrainingError, match=r"step 8: the adapter has diverged") as caught:
        optimizer.check_norm(norm, 7, 0.1)
    assert "--learning-rate than 0.1" in caught.value.fix


def test_what_overflows_at_every_scale_ends_the_training() -> None:
    _, optimizer = made(HALF)
    for number in range(40):
        optimizer.check_norm(float("inf"), number, 0.1)
    optimizer.check_norm(1.0, 40, 0.1)
    for number in range(40):
        optimizer.check_norm(float("nan"), number, 0.1)
    with pytest.raises(TrainingError, match="at every scale"):
        optimizer.check_norm(float("inf"), 41, 0.1)


def test_a_group_learns_at_its_own_multiple_of_the_rate() -> None:
    slow, fast = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = TrainingOptimizer(
        [([slow], 1.0), ([fast], 10.0)], OptimizerSettings(learning_rate=0.1, weight_decay=0), FULL
    )
    step(optimizer, (slow + fast).sum())
    torch.testing.assert_close(1 - fast, 10 * (1 - slow))
