"""The loss curve of a run, gathered while it trains and written at its end, whatever ends it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isclose

from clora_ext.errors import StorageError, writing
from clora_ext.events import Event, Sink, TrainStep, Validated
from clora_ext.project.concept_files import ConceptFiles, concept_files
from clora_ext.training.curve import CurvePoint, read_curve, write_curve

from .prepared import PreparedRun

__all__ = ["LossCurve"]

_ROUNDED = 1e-6  # tables have eight digits


class LossCurve:
    """What has been seen of a training's steps; what came before it was stopped is taken up again.

    Args:
        run: whose project keeps the curve.
    """

    def __init__(self, run: PreparedRun) -> None:
        self._title = f"{run.plan.concept.trigger}: {run.plan.settings.strategy}"
        self._files = _files(run)
        self._points = {point.step: point for point in read_curve(self._files.curve)}
        self._started = False

    def watched(self, sink: Sink) -> Sink:
        """A sink that notes every step, and then tells ``sink``."""

        def see(event: Event) -> None:
            if isinstance(event, TrainStep):
                self._note(event)
            elif isinstance(event, Validated) and event.step in self._points:
                self._points[event.step] = replace(self._points[event.step], validation=event.loss)
            sink(event)

        return see

    def finish(self, losses: Sequence[float], rate: Callable[[int], float]) -> None:
        """Write the whole curve.

        Args:
            losses: of every step.
            rate: the learning rate of a step, counted from 0.

        Raises:
            StorageError: the disk is full or refuses.
        """
        for step, loss in enumerate(losses, start=1):
            known = self._points.get(step)
            # It was killed, or stopped by an older clora, or the table is of another plan.
            if known is None or not isclose(known.loss, loss, rel_tol=_ROUNDED):
                self._points[step] = CurvePoint(step, loss, rate(step - 1), None)
        self._write([self._points[step] for step in range(1, len(losses) + 1)])

    def stop(self) -> None:
        """Write what there is, if that is possible: what has stopped the run is the more important news."""
        if self._started:
            with suppress(StorageError):
                self._write([self._points[step] for step in sorted(self._points)])

    def _note(self, event: TrainStep) -> None:
        if not self._started:  # what another run has left of later steps is not this one's
            self._points = {step: point for step, point in self._points.items() if step < event.step}
            self._started = True
        self._points[event.step] = CurvePoint(event.step, event.loss, event.learning_rate, event.seconds)

    def _write(self, points: Sequence[CurvePoint]) -> None:
        from clora_ext.sampling.loss_plot import loss_plot

        write_curve(points, self._files.curve)
        with writing(self._files.plot):
            losses, title = [point.loss for point in points], f"{self._title}, {points[-1].step} steps"
            asked = {one.step: one.validation for one in points if one.validation is not None}
            loss_plot(losses, title, points[0].step, asked).save(self._files.plot, format="PNG")


def _files(run: PreparedRun) -> ConceptFiles:
    concept = run.plan.concept
    return concept_files(run.project.folder, run.plan.number, concept.token, concept.class_name)
