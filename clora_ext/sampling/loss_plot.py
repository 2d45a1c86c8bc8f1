"""A loss curve as a picture: every step a dot, and the mean over some steps a line."""

from collections.abc import Iterator, Mapping, Sequence
from math import floor, log10
from types import MappingProxyType

from PIL import Image, ImageDraw, ImageFont

__all__ = ["SMOOTHED", "loss_plot", "moving_mean"]

SMOOTHED = 20
"""Steps in one mean, as on the screen while it trains."""

_WIDTH, _HEIGHT = 800, 450
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 20, 40, 54
_DOTS, _LINE, _GRID = (165, 186, 218), (28, 80, 170), (226, 226, 226)
_ASKED = (200, 90, 20)
_TICKS = 5


def moving_mean(losses: Sequence[float], count: int = SMOOTHED) -> list[float]:
    """At each step the mean of the last ``count`` losses.

    >>> moving_mean([1.0, 3.0, 5.0], 2)
    [1.0, 2.0, 4.0]
    """
    return [sum(losses[max(0, end - count) : end]) / min(count, end) for end in range(1, len(losses) + 1)]


def loss_plot(
    losses: Sequence[float],
    title: str,
    first_step: int = 1,
    validation: Mapping[int, float] = MappingProxyType({}),
) -> Image.Image:
    """The curve with labelled axes, 800 x 450 pixels.

    Args:
        losses: of consecutive steps; at least one.
        title: stands above it.
        first_step: number of the first of them.
        validation: losses on what is held out, by step.
    """
    plot = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw, font = ImageDraw.Draw(plot), ImageFont.load_default(size=14)
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    top, last = max([*losses, *validation.values(), 1e-12]) * 1.05, first_step + len(losses) - 1

    def place(index: float, loss: float) -> tuple[float, float]:
        return _LEFT + across * index / max(1, len(losses) - 1), _HEIGHT - _BOTTOM - down * loss / top

    draw.text((_LEFT, 10), title, fill="black", font=font)
    for loss in _ticks(0.0, top):
        _, y = place(0, loss)
        draw.line((_LEFT, y, _WIDTH - _RIGHT, y), fill=_GRID)
        draw.text((_LEFT - 8, y), f"{loss:.4g}", fill="black", font=font, anchor="rm")
    for step in _ticks(first_step, last):
        x, _ = place(step - first_step, 0)
        draw.line((x, _HEIGHT - _BOTTOM, x, _HEIGHT - _BOTTOM + 5), fill="black")
        draw.text((x, _HEIGHT - _BOTTOM + 8), f"{step:.0f}", fill="black", font=font, anchor="ma")
    for index, loss in enumerate(losses):
        x, y = place(index, loss)
        draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=_DOTS)
    draw.line([place(*point) for point in enumerate(moving_mean(losses))], fill=_LINE, width=2, joint="curve")
    asked = [place(step - first_step, loss) for step, loss in sorted(validation.items())]
    draw.line(asked, fill=_ASKED, width=2, joint="curve")
    for x, y in asked:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_ASKED)
    draw.rectangle((_LEFT, _TOP, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM), outline="black")
    draw.text((_LEFT + across / 2, _HEIGHT - 20), "step", fill="black", font=font, anchor="mm")
    draw.text((8, _TOP - 18), "loss", fill="black", font=font)
    words = f"dots: steps, line: mean of the last {SMOOTHED}"
    draw.text((_WIDTH - _RIGHT, 10), words, fill=_LINE, font=font, anchor="ra")
    if validation:
        draw.text((_WIDTH - _RIGHT, 24), "validation, held out", fill=_ASKED, font=font, anchor="ra")
    return plot


def _ticks(first: float, last: float) -> Iterator[float]:
    """A few round numbers from ``first`` to ``last``."""
    if last <= first:
        yield first
        return
    rough = (last - first) / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    number = -floor(-first / step)
    while number * step <= last:
        yield number * step
        number += 1
