"""A loss curve as the coordinates of a drawing: the page shows it in its own colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from clora_ext.sampling.loss_plot import moving_mean

__all__ = ["Chart", "chart"]

_WIDTH, _HEIGHT = 600, 200
_MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve in a box of ``width`` by ``height``.

    Attributes:
        width: of the box.
        height: of the box.
        dots: (x, y) of steps; of many, every n-th.
        line: the points of the moving mean, as SVG's ``points``.
        top: the loss at the box's upper edge; the lower one is 0.
        steps: how many there were.
    """

    width: int
    height: int
    dots: tuple[tuple[float, float], ...]
    line: str
    top: float
    steps: int


def chart(losses: Sequence[float], steps: int | None = None) -> Chart | None:
    """The drawing of a curve; None: there are no losses.

    Args:
        losses: in their order.
        steps: how many steps they stand for; None: one each.
    """
    if not losses:
        return None
    top = max([*losses, 1e-12]) * 1.05
    every = ceil(len(losses) / _MOST_POINTS)

    def place(index: int, loss: float) -> tuple[float, float]:
        x = _WIDTH * index / max(1, len(losses) - 1)
        return round(x, 1), round(_HEIGHT * (1 - loss / top), 1)

    dots = tuple(place(index, loss) for index, loss in enumerate(losses))[::every]
    means = [place(index, mean) for index, mean in enumerate(moving_mean(losses))][::every]
    line = " ".join(f"{x},{y}" for x, y in means)
    return Chart(_WIDTH, _HEIGHT, dots, line, top, steps or len(losses))
