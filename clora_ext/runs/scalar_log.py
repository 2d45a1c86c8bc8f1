"""A training's numbers for other programs: loss, its mean so far, norm, rate, validation."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from clora_ext.events import Event, Sink, TrainStep, Validated

from .plan import Plan
from .request import Pictures
from .scalar_writer import Scalars, ScalarWriter
from .tensorboard_log import check_tensorboard_log, tensorboard_log
from .wandb_log import check_wandb_log, wandb_log

__all__ = ["check_scalar_log", "scalar_log"]


def check_scalar_log(source: Pictures) -> None:
    """Make sure that the numbers can go where they are wished, before anything is trained.

    Raises:
        UsageError: a program is not installed, or will not take them.
    """
    if source.log_dir is not None:
        check_tensorboard_log(source.log_dir)
    if source.wandb_project is not None:
        check_wandb_log(source.wandb_project)


@contextmanager
def scalar_log(plan: Plan, sink: Sink) -> Iterator[Sink]:
    """A sink that writes what a training's events say, and then tells ``sink``."""
    source = plan.request.source
    with ExitStack() as open_logs:
        writers = []
        if isinstance(source, Pictures) and source.log_dir is not None:
            writers.append(open_logs.enter_context(tensorboard_log(plan, source.log_dir)))
        if isinstance(source, Pictures) and source.wandb_project is not None:
            log = wandb_log(plan, source.wandb_project, source.wandb_name)
            writers.append(open_logs.enter_context(log))
        yield _writing(writers, sink) if writers else sink


def _writing(writers: Sequence[ScalarWriter], sink: Sink) -> Sink:
    losses: list[float] = []

    def see(event: Event) -> None:
        values = _scalars(event, losses)
        if isinstance(event, (TrainStep, Validated)):
            for write in writers:
                write(values, event.step)
        sink(event)

    return see


def _scalars(event: Event, losses: list[float]) -> Scalars:
    """Under the names that sd-scripts gives them; ``losses`` gains the event's."""
    if isinstance(event, TrainStep):
        losses.append(event.loss)
        return {
            "loss/current": event.loss,
            "loss/average": sum(losses) / len(losses),
            "lr/unet": event.learning_rate,
            "norm/gradient": event.gradient_norm,
        }
    return {"loss/validation": event.loss} if isinstance(event, Validated) else {}
