"""The training loop: adapters on a frozen model, exact resumption.

Every step's pictures, noise and timesteps follow from (seed, step) alone, so a run that was stopped and
resumed takes the same steps, bit for bit on a processor, as one that was not.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from clora_ext.config.memory import peak_memory, reporting_out_of_memory
from clora_ext.config.precision import Precision
from clora_ext.config.settings import Settings
from clora_ext.errors import CloraError, OutOfMemory
from clora_ext.events import Note, Sink, TrainStep, Validated
from clora_ext.families.base import Model
from clora_ext.strategies.objective import Example, Objective

from .adapters import Adapters
from .objective import check_finite
from .optimizer import TrainingOptimizer
from .save_pace import SavePace
from .state import TrainingState
from .token_rows import TokenRows
from .validation import Validation

__all__ = ["Training", "learning_rate", "train"]


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that one training is made of.

    Attributes:
        model: loaded with the frozen weights; the adapters are inside.
        adapters: what is trained.
        token_rows: what is trained beside them in the tables of tokens; None: nothing.
        row_rate: the rows' learning rate, as a multiple of the adapters'.
        objective: what is minimised.
        examples: the pictures.
        batch_at: what a step (from 0) is shown of them, of one size.
        settings: steps, rate, seed, ...
        precision: where the model lies.
        state_file: where a stopped run leaves its state; it is read if it belongs to ``fingerprint``.
        fingerprint: identifies the plan, so that another plan's state is never resumed.
        concept: token and class, for whoever finds the state.
        validation: asked now and then; None: nothing is held out.
    """

    model: Model
    adapters: Adapters
    token_rows: TokenRows | None
    row_rate: float
    objective: Objective
    examples: Sequence[Example]
    batch_at: Callable[[int], Sequence[Example]]
    settings: Settings
    precision: Precision
    state_file: Path
    fingerprint: str
    concept: str = ""
    validation: Validation | None = None

    @property
    def components(self) -> Sequence[nn.Module]:
        """The networks in which anything is trained."""
        rows = [] if self.token_rows is None else self.token_rows.components
        return list(dict.fromkeys([*self.adapters.components, *rows]))

    @property
    def parameter_groups(self) -> Sequence[tuple[Mapping[str, nn.Parameter], float]]:
        """Everything that is trained, by name, with the multiple of the learning rate that it learns at."""
        rows = [] if self.token_rows is None else [(self.token_rows.parameters, self.row_rate)]
        return [(self.adapters.parameters, 1.0), *rows]


def train(
    training: Training, sink: Sink, after_step: Callable[[int], None] = lambda step: None
) -> tuple[float, ...]:
    """Train the adapters in place; give every step's loss.

    Whatever ends it before its end, the state is saved if the adapter is whole, and the same training goes on
    from there.

    Args:
        training: what to train.
        sink: told of every step; may raise Cancelled.
        after_step: called after every step with the number of steps done; may raise Cancelled too.

    Raises:
        TrainingError: the loss is NaN or infinite, or the gradients are.
        OutOfMemory: a step does not fit.
        Cancelled: as raised by ``sink``.
    """
    run = _Run(training)
    steps = training.settings.schedule.steps
    if run.losses:  # it may have been stopped after a step and before that was validated
        run.validate(len(run.losses), steps, sink)
    for step in range(len(run.losses), steps):
        began = time.monotonic()
        rate = learning_rate(training.settings, step)
        try:
            with reporting_out_of_memory(f"training step {step + 1}"):
                loss = run.step(step, rate)
            seconds = time.monotonic() - began
            sink(TrainStep(step + 1, steps, loss, rate, seconds, peak_memory(training.precision.device)))
            run.validate(step + 1, steps, sink)
            after_step(step + 1)
        except (Exception, KeyboardInterrupt) as error:
            run.save_before(error)
            raise
        if run.pace.is_due:
            run.save()
    run.save()
    run.take_best(sink)
    for component in training.components:
        component.eval()
    return tuple(run.losses)


class _Run:
    """Optimiser and losses of one training, as far as it has come."""

    def __init__(self, training: Training) -> None:
        self._training = training
        steps = training.settings.schedule.steps
        self._state = TrainingState(training.state_file, training.fingerprint, training.concept, steps)
        groups = training.parameter_groups
        self._parameters = {name: one for parameters, _ in groups for name, one in parameters.items()}
        self._optimizer = TrainingOptimizer(
            [(list(parameters.values()), factor) for parameters, factor in groups],
            training.settings.optimizer,
            training.precision,
        )
        self.losses = self._state.restore(self._parameters, *self._optimizer.parts, training.validation)
        self._whole = True
        self._saved_steps = len(self.losses)
        self.pace = SavePace()
        for component in training.components:
            component.train()
        if training.settings.compute.gradient_checkpointing:
            training.model.recompute_activations()

    def step(self, step: int, rate: float) -> float:
        """One optimiser step; gives its loss.

        Nothing is asked of the accelerator before all of it is queued, so that it never waits for the
        processor. What is not finite is noticed here all the same, before anything is saved.
        """
        training = self._training
        batch = training.batch_at(step)
        with training.precision.autocast():
            loss = training.objective.loss(
                training.model, batch, training.settings.seed, step, training.precision.device
            )
        penalty = training.adapters.penalty()
        loss = loss if penalty is None else loss + penalty
        norm = self._optimizer.gradients(loss)
        self._whole = False
        self._optimizer.step(rate)
        training.adapters.project()
        value, found_norm = _read(loss, norm)
        check_finite(value, batch, step, rate)
        self._optimizer.check_norm(found_norm, step, rate)
        self._whole = True
        self.losses.append(value)
        return value

    def validate(self, step: int, steps: int, sink: Sink) -> None:
        """Ask for the error on what is held out, if it is time to."""
        training, validation = self._training, self._training.validation
        if validation is None or not validation.is_due(step, steps) or step in validation.losses:
            return
        loss = validation.ask(step, training.model, training.precision, self._parameters)
        sink(Validated(step, loss, loss == min(validation.losses.values())))

    def take_best(self, sink: Sink) -> None:
        """Go back to the adapter that was best on what is held out, where that is wished."""
        validation = self._training.validation
        step = None if validation is None else validation.take_best(self._parameters)
        if step is not None:
            sink(Note(f"the adapter of step {step} is taken: its validation loss is the lowest"))

    def save(self) -> None:
        """Write what resuming needs."""
        began = self.pace.clock()
        self._state.save(self._parameters, *self._optimizer.parts, self.losses, self._training.validation)
        self._saved_steps = len(self.losses)
        self.pace.saved(began)

    def save_before(self, error: BaseException) -> None:
        """Save before ``error`` ends the training; what cannot be saved does not take its place."""
        if self._whole and self._saved_steps < len(self.losses):
            try:
                self.save()
            except (CloraError, OSError, RuntimeError) as refusal:
                reason = refusal.message if isinstance(refusal, CloraError) else f"{refusal}"
                lost = f"what was trained after step {self._saved_steps} could not be saved ({reason})"
                _add_to_fix(error, f"{lost}; the same command goes on from there")
                return
        if isinstance(error, OutOfMemory) and self._saved_steps:
            _add_to_fix(error, f"the same command goes on from step {self._saved_steps}")


def _add_to_fix(error: BaseException, sentence: str) -> None:
    """Say more about what to do, where it is said at all."""
    if isinstance(error, CloraError):
        error.fix = f"{error.fix}\n{sentence}".strip()


def _read(loss: torch.Tensor, norm: torch.Tensor) -> tuple[float, float]:
    """Loss and norm of a step as numbers: the one place where the processor waits for the accelerator."""
    value, found_norm = torch.stack([loss.detach().float(), norm.float()]).tolist()
    return value, found_norm


def learning_rate(settings: Settings, step: int) -> float:
    """The learning rate of a step (from 0): rises over the warm-up, then constant."""
    rate, warmup = settings.optimizer.learning_rate, settings.schedule.warmup_steps
    if step >= warmup:
        return rate
    return rate * (step + 1) / (warmup + 1)
