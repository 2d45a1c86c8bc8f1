"""A training's numbers for TensorBoard: loss, its mean so far, rate, validation."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import UsageError, writing
from clora_ext.events import Event, Sink, TrainStep, Validated

from .plan import Plan

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["check_scalar_log", "scalar_log"]


def check_scalar_log(folder: Path | None) -> None:
    """Make sure that numbers can be written to a folder, before anything is trained.

    Raises:
        UsageError: TensorBoard is not installed, or there is something else in the folder's place.
    """
    if folder is None:
        return
    if find_spec("tensorboard") is None:
        raise UsageError(
            "numbers for TensorBoard cannot be written without it", fix="pip install tensorboard"
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", fix="name a folder for TensorBoard")


@contextmanager
def scalar_log(plan: Plan, sink: Sink) -> Iterator[Sink]:
    """A sink that writes what a training's events say, and then tells ``sink``.

    A run that was stopped goes on in its folder: a step that is written again stands for what was written of
    it before.
    """
    folder = plan.log_dir
    if folder is None:
        yield sink
        return
    from torch.utils.tensorboard import SummaryWriter

    place = folder / plan.log_folder
    with writing(place):
        writer = SummaryWriter(str(place), purge_step=plan.resume_step + 1)
    losses: list[float] = []

    def see(event: Event) -> None:
        with writing(place):
            _write(writer, event, losses)
        sink(event)

    try:
        yield see
    finally:
        with writing(place):
            writer.close()


def _write(writer: "SummaryWriter", event: Event, losses: list[float]) -> None:
    """Under the names that sd-scripts gives them."""
    if isinstance(event, TrainStep):
        losses.append(event.loss)
        values = {
            "loss/current": event.loss,
            "loss/average": sum(losses) / len(losses),
            "lr/unet": event.learning_rate,
        }
    elif isinstance(event, Validated):
        values = {"loss/validation": event.loss}
    else:
        return
    for name, value in values.items():
        writer.add_scalar(name, value, event.step)
