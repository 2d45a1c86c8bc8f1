"""The training loop: adapters on a frozen model, exact resumption.

Every step's pictures, noise and timesteps follow from (seed, step) alone, so a run that was stopped and
resumed takes the same steps, bit for bit on a processor, as one that was not.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch

from clora_ext.config.memory import peak_memory, reporting_out_of_memory
from clora_ext.errors import CloraError, OutOfMemory
from clora_ext.events import Note, Sink, TrainStep, Validated
from clora_ext.strategies.objective import Example

from .averages import MovingAverage
from .compiling import reporting_no_compiler
from .learning_rate import learning_rates
from .objective import check_finite
from .optimizer import TrainingOptimizer
from .save_pace import SavePace
from .state import TrainingState
from .training import Training

__all__ = ["follow", "train"]


def train(
    training: Training, sink: Sink, after_step: Callable[[int], None] = lambda step: None
) -> tuple[float, ...]:
    """Train the adapters in place; give every step's loss.

    Whatever ends it before its end, the state is saved if the adapter is whole, and the same training goes on
    from there. Of several processes the others part after the last step, unless weights are shared out: then
    they compute along until :meth:`Training.part`.

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
    with training.led(), run.evaluated():
        if run.losses:  # it may have been stopped after a step and before that was validated
            run.validate(len(run.losses), steps, sink)
    rate_of = learning_rates(training.settings)
    for step in range(len(run.losses), steps):
        try:
            if run.has_converged(step):
                sink(
                    Note(f"the error on the pictures hardly falls any more: the training ends at step {step}")
                )
                break
            sink(run.timed_step(step, rate_of(step)))
            with training.led(), run.evaluated():
                run.validate(step + 1, steps, sink)
                after_step(step + 1)
        except (Exception, KeyboardInterrupt) as error:
            run.save_before(error)
            raise
        if run.pace.is_due:
            run.save()
    run.save()
    if training.joint is None:  # nobody else is needed any more
        training.part()
    run.finish()
    with training.led():
        run.validate(len(run.losses), len(run.losses), sink)
    run.take_best(sink)
    for component in training.components:
        component.eval()
    return tuple(run.losses)


def follow(training: Training, sink: Sink) -> None:
    """Train the adapters along with the first process of the team, which saves, validates and draws.

    Args:
        training: what to train.
        sink: told of every step; may raise Cancelled, which stops all processes.

    Raises:
        PeerFailed: another process has failed or ended.
        CloraError: as :func:`train`.
    """
    assert training.team is not None  # who follows has somebody to follow  # noqa: S101
    training.follow()  # previews before the first step
    run = _Run(training)
    training.follow()
    rate_of = learning_rates(training.settings)
    for step in range(len(run.losses), training.settings.schedule.steps):
        if run.has_converged(step):
            break
        sink(run.timed_step(step, rate_of(step)))
        training.follow()
    training.follow()  # the last validation
    training.follow()  # what is measured and drawn after the training
    training.part()


class _Run:
    """Optimiser and losses of one training, as far as it has come."""

    def __init__(self, training: Training) -> None:
        self._training = training
        steps = training.settings.schedule.steps
        self._state = TrainingState(
            training.state_file, training.fingerprint, training.concept, steps, training.processes
        )
        groups = training.parameter_groups
        self._parameters = {name: one for parameters, _ in groups for name, one in parameters.items()}
        decay = training.ema_decay
        self._moving = (
            MovingAverage(self._parameters, decay) if training.leads and decay is not None else None
        )
        self._optimizer = TrainingOptimizer(
            [(list(parameters.values()), factor) for parameters, factor in groups],
            training.settings.optimizer,
            training.precision,
            training.settings.algorithm,
            self._moving,
            training.adapters.magnitudes.values(),
        )
        asked = training.validation if training.leads else None
        self._beside = [one for one in (asked, self._moving, training.convergence) if one is not None]
        self.losses = self._state.restore(self._parameters, *self._optimizer.parts, self._beside)
        if training.team is not None:
            training.team.begin(self._parameters, len(self.losses))
        self._whole = True
        self._saved_steps = len(self.losses)
        self.pace = SavePace()
        for component in training.components:
            component.train()
        if training.settings.compute.recomputes:
            training.model.recompute_activations()
        if training.settings.compute.torch_compile:
            training.model.compile_denoiser()

    def timed_step(self, step: int, rate: float) -> TrainStep:
        """One optimiser step, and what is told of it.

        Raises:
            OutOfMemory: it does not fit.
            TrainingError: the loss is NaN or infinite, or the gradients are; or nothing can be compiled here.
        """
        for number in self._batches(step):
            self._training.prepare(number)
        began = time.monotonic()
        together = self._training.in_step()
        with together, reporting_out_of_memory(f"training step {step + 1}"), reporting_no_compiler():
            loss, norm = self.step(step, rate)
        seconds = time.monotonic() - began
        memory = peak_memory(self._training.precision.device)
        steps = self._training.settings.schedule.steps
        return TrainStep(step + 1, steps, loss, self.acting_rate(rate), norm, seconds, memory)

    def step(self, step: int, rate: float) -> tuple[float, float]:
        """One optimiser step; gives its loss, and the norm of its gradients before they were clipped.

        Nothing is asked of the accelerator before all of it is queued, so that it never waits for the
        processor. What is not finite is noticed here all the same, before anything is saved.
        """
        training = self._training
        numbers = self._batches(step)
        losses = [self._backward(number, len(numbers)) for number in numbers]
        batch, loss = (
            [one for shown, _ in losses for one in shown],
            torch.stack([one for _, one in losses]).sum(),
        )
        if training.team is not None:
            loss = training.team.average(list(self._parameters.values()), loss)
        norm = self._optimizer.clip()
        self._whole = False
        self._optimizer.step(rate)
        training.adapters.hold()
        if self._moving is not None:
            self._moving.step()
        value, found_norm = _read(loss, norm)
        check_finite(value, batch, step, rate)
        self._optimizer.check_norm(found_norm, step, rate)
        self._whole = True
        self.losses.append(value)
        return value, found_norm

    def _batches(self, step: int) -> range:
        """Numbers of the batches that a step consists of."""
        each = self._training.settings.algorithm.gradient_accumulation_steps
        return range(step * each, (step + 1) * each)

    def _backward(self, number: int, each: int) -> tuple[Sequence[Example], torch.Tensor]:
        """What one batch adds to the gradients of a step of so many; gives it, and its share of the loss."""
        training = self._training
        batch = training.batch_at(number)
        if training.joint is not None:
            training.joint.meet()
        with training.adapters.trained_on(number):
            with training.precision.autocast():
                loss = training.objective.loss(
                    training.model, batch, training.settings.seed, number, training.precision.device
                )
            penalty = training.adapters.penalty()
            loss = (loss if penalty is None else loss + penalty) / each
            self._optimizer.backward(loss)
        return batch, loss.detach()

    def acting_rate(self, rate: float) -> float:
        """The learning rate that acts."""
        return self._optimizer.acting_rate(rate)

    def evaluated(self) -> AbstractContextManager[None]:
        """While it is entered, the parameters are what has been learned."""
        return self._optimizer.evaluated()

    def finish(self) -> None:
        """From now on they are; what a constraint allows holds for them, too."""
        if self._optimizer.finish():
            self._training.adapters.hold()

    def validate(self, step: int, steps: int, sink: Sink) -> None:
        """Ask for the error on what is held out, if it is time to."""
        training, validation = self._training, self._training.validation
        if validation is None or not validation.is_due(step, steps) or step in validation.losses:
            return
        loss = validation.ask(step, training.model, training.precision, self._parameters)
        sink(Validated(step, loss, loss == min(validation.losses.values())))

    def has_converged(self, step: int) -> bool:
        """Whether nothing more is learned after so many steps; the first process says it."""
        training, convergence = self._training, self._training.convergence
        if convergence is None or not convergence.is_due(step):
            return False
        if training.leads:
            with training.led(), self.evaluated():
                convergence.ask(step, training.model, training.precision)
        else:
            training.follow()
        reached = convergence.is_reached
        return reached if training.team is None else training.team.take_answer(reached)

    def take_best(self, sink: Sink) -> None:
        """Go back to the adapter that was best on what is held out, where that is wished."""
        validation = self._training.validation
        step = None if validation is None else validation.take_best(self._parameters)
        if step is not None:
            sink(Note(f"the adapter of step {step} is taken: its validation loss is the lowest"))

    def save(self) -> None:
        """Write what resuming needs."""
        began = self.pace.clock()
        self._state.save(self._parameters, *self._optimizer.parts, self.losses, self._beside)
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
