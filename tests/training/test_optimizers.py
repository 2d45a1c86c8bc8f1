"""Every optimiser: it learns, it stops and goes on bit for bit, and looking at it changes nothing."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from torch import nn

from clora_ext.config import algorithm_settings
from clora_ext.config.algorithm_settings import OPTIMIZERS, algorithm_problems, optimizer_arguments
from clora_ext.config.precision import Precision
from clora_ext.config.settings import AlgorithmSettings, OptimizerSettings, Settings
from clora_ext.training.optimizer import TrainingOptimizer
from clora_ext.training.state import TrainingState

FULL = Precision(torch.device("cpu"), torch.float32, "a test")
THERE = [name for name, kind in OPTIMIZERS.items() if find_spec(kind.module.partition(".")[0])]
RATES = {
    "Prodigy": 1.0,
    "ProdigyPlusScheduleFree": 1.0,
    "Lion": 0.01,
    "Lion8bit": 0.01,
    "PagedLion8bit": 0.01,
}
NEEDS_GPU = {"PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit", "PagedLion8bit"}
STEPS = 60


class Run:
    """Learns numbers; of 8-bit optimisers 4096 have to be there."""

    def __init__(self, name: str) -> None:
        self.parameters = {
            "a": nn.Parameter(torch.zeros(64, 64)),
            "b": nn.Parameter(torch.full((3,), 2.0)),
        }
        settings = OptimizerSettings(learning_rate=RATES.get(name, 0.05), weight_decay=0.0)
        arguments = "relative_step=False scale_parameter=False" if name == "Adafactor" else None
        groups = [([self.parameters["a"]], 1.0), ([self.parameters["b"]], 2.0)]
        self.rate = settings.learning_rate
        algorithm = AlgorithmSettings(optimizer_type=name, optimizer_args=arguments)  # type: ignore[arg-type]
        self.optimizer = TrainingOptimizer(groups, settings, FULL, algorithm)
        self.losses: list[float] = []

    def loss(self) -> torch.Tensor:
        wanted = torch.linspace(-1, 1, 64 * 64).reshape(64, 64)
        return (self.parameters["a"] - wanted).square().mean() + (self.parameters["b"] - 1).square().mean()

    def step(self) -> None:
        loss = self.loss()
        self.optimizer.backward(loss)
        self.optimizer.clip()
        self.optimizer.step(self.rate)
        self.losses.append(float(loss.detach()))
        with self.optimizer.evaluated():  # as the loop does for samples
            self.loss()


def able(names: list[str]) -> list[str]:
    """Those that run here: paged ones keep their values where a GPU can reach them."""
    return [name for name in names if torch.cuda.is_available() or name not in NEEDS_GPU]


def test_at_least_these_are_tested() -> None:
    assert {"AdamW", "Adafactor", "Lion", "Prodigy", "AdamWScheduleFree", "ProdigyPlusScheduleFree"} <= set(
        THERE
    )


def test_every_optimiser_learns() -> None:
    def look(name: str) -> None:
        run = Run(name)
        for _ in range(STEPS):
            run.step()
        run.optimizer.finish()
        assert float(run.loss().detach()) < 0.6 * run.losses[0]

    check_each(able(THERE), look)


def test_every_optimiser_stops_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def look(name: str) -> None:
        straight = Run(name)
        for _ in range(12):
            straight.step()
        file = tmp_path / f"{name}.safetensors"
        run = Run(name)
        state = TrainingState(file, "plan", "a test", 12)
        for stop in (3, 7, 12):
            run = Run(name)
            run.losses = state.restore(run.parameters, *run.optimizer.parts)
            while len(run.losses) < stop:
                run.step()
            state.save(run.parameters, *run.optimizer.parts, run.losses)
        assert run.losses == straight.losses
        straight.optimizer.finish()
        run.optimizer.finish()
        for one in run.parameters:
            assert torch.equal(run.parameters[one], straight.parameters[one])

    check_each(able(THERE), look)


def parts(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in an optimiser's state, each with its type."""
    if isinstance(value, (dict, list, tuple)):
        yield place, type(value)
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from parts(one, f"{place}/{key}")
    elif isinstance(value, torch.Tensor):
        yield place, (value.dtype, value.shape, value.tolist())
    else:
        yield place, (type(value), value)


def test_every_optimiser_knows_again_what_it_knew_number_for_number_and_type_for_type(tmp_path: Path) -> None:
    def look(name: str) -> None:
        for steps in (1, 4):
            run, again = Run(name), Run(name)
            for _ in range(steps):
                run.step()
            state = TrainingState(tmp_path / f"{name}{steps}.safetensors", "plan", "a test", 12)
            state.save(run.parameters, *run.optimizer.parts, run.losses)
            state.restore(again.parameters, *again.optimizer.parts)
            known, knew = (dict(parts(one.optimizer.parts[0].state_dict())) for one in (again, run))
            assert len(knew) > 5
            assert known == knew

    check_each(able(THERE), look)


def test_what_is_looked_at_is_the_average_and_training_goes_on_with_the_very_bits() -> None:
    averaging = [name for name in THERE if OPTIMIZERS[name].averages]
    assert averaging

    def look(name: str) -> None:
        run = Run(name)
        for _ in range(12):  # RAdam begins as plain descent
            run.step()
        before = run.parameters["a"].detach().clone()
        with run.optimizer.evaluated():
            average = run.parameters["a"].detach().clone()
        assert torch.equal(run.parameters["a"], before)
        assert not torch.equal(average, before)
        run.optimizer.finish()
        assert torch.equal(run.parameters["a"], average)

    check_each(averaging, look)


def test_an_optimiser_that_finds_its_rate_tells_which_acts() -> None:
    run = Run("Prodigy")
    rates = []
    for _ in range(STEPS):
        run.step()
        rates.append(run.optimizer.acting_rate(1.0))
    assert rates[0] < 1e-5 < rates[-1]
    assert Run("AdamW").optimizer.acting_rate(0.3) == 0.3


def test_gradients_that_are_not_to_be_clipped_stay() -> None:
    parameter = nn.Parameter(torch.ones(4))
    optimizer = TrainingOptimizer([([parameter], 1.0)], OptimizerSettings(max_grad_norm=0.0), FULL)
    optimizer.backward((100 * parameter).sum())
    assert float(optimizer.clip()) == 200
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [100] * 4


def test_adafactor_has_a_rate_of_its_own_unless_told_otherwise() -> None:
    settings = OptimizerSettings(learning_rate=0.1)
    for arguments, rate in ((None, None), ("relative_step=False", 0.1)):
        algorithm = AlgorithmSettings(optimizer_type="Adafactor", optimizer_args=arguments)
        made = TrainingOptimizer([([nn.Parameter(torch.ones(2))], 1.0)], settings, FULL, algorithm)
        assert made.parts[0].param_groups[0]["lr"] == rate


WRONG = [
    ("AdamW", "betas", "'betas' is no name=value"),
    ("AdamW", "eps=1 eps=2", "'eps' is given twice"),
    ("AdamW", "beta=1", "AdamW has no 'beta'; did you mean 'betas'?"),
    ("AdamW", "lr=1", "AdamW has no 'lr'"),
    ("Prodigy", "d_coeff=2", "did you mean 'd_coef'?"),
]


def test_arguments_are_checked_before_anything_starts() -> None:
    def look(case: tuple[str, str, str]) -> None:
        name, arguments, words = case
        (problem,) = Settings.of(optimizer_type=name, optimizer_args=arguments).problems()
        assert words in problem

    check_each(WRONG, look)
    assert not Settings.of(optimizer_type="Prodigy", optimizer_args="d_coef=2 betas=0.9,0.99").problems()
    assert optimizer_arguments("x=__import__('os')") == {"x": "__import__('os')"}  # text, and never run


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithm_settings, "find_spec", lambda name: None)
    problems = {name: algorithm_problems(AlgorithmSettings(optimizer_type=name)) for name in OPTIMIZERS}  # type: ignore[arg-type]
    assert problems["Prodigy"] == ["Prodigy needs another library: pip install prodigyopt"]
    assert problems["AdamW"] == problems["Adafactor"] == []
    assert sum(map(bool, problems.values())) == len(OPTIMIZERS) - 2
