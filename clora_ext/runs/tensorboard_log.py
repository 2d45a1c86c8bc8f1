"""Numbers for TensorBoard, in a folder of runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from clora_ext.errors import UsageError, writing

from .plan import Plan
from .scalar_writer import Scalars, ScalarWriter

__all__ = ["check_tensorboard_log", "tensorboard_log"]


def check_tensorboard_log(folder: Path) -> None:
    """Make sure that numbers can be written to a folder, before anything is trained.

    Raises:
        UsageError: TensorBoard is not installed, or there is something else in the folder's place.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "numbers for TensorBoard cannot be written without it", fix="pip install tensorboard"
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", fix="name a folder for TensorBoard")


@contextmanager
def tensorboard_log(plan: Plan, folder: Path) -> Iterator[ScalarWriter]:
    """What writes numbers of a step.

    A run that was stopped goes on in its folder: a step that is written again stands for what was written of
    it before.

    Raises:
        StorageError: the disk is full or refuses.
    """
    from torch.utils.tensorboard import SummaryWriter

    place = folder / plan.log_name
    with writing(place):
        writer = SummaryWriter(str(place), purge_step=plan.resume_step + 1)

    def write(values: Scalars, step: int) -> None:
        with writing(place):
            for name, value in values.items():
                writer.add_scalar(name, value, step)

    try:
        yield write
    finally:
        with writing(place):
            writer.close()
