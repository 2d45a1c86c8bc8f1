"""A plot's frame: axes with round numbers, a place for every value, a legend."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, log10

from PIL import Image, ImageDraw, ImageFont

__all__ = ["PALETTE", "Plot", "colour_of", "ticks"]

PALETTE = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0), (90, 90, 90),
    (150, 60, 20), (60, 20, 120), (120, 150, 0),
)  # fmt: skip
"""Told apart by people who do not see all colours, too (Okabe and Ito's, then three more)."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 20, 40, 54
_GRID = (228, 228, 228)
_LINE = 22  # height of a line of the legend
_TICKS = 6
_MARGIN = 0.06


def colour_of(number: int) -> tuple[int, int, int]:
    """Of the number-th line or dot."""
    return PALETTE[number % len(PALETTE)]


@dataclass
class Plot:
    """An empty plot with labelled axes.

    Attributes:
        title: above it.
        across: (lowest, highest) value of x.
        upward: of y.
        x_label: what x is.
        y_label: what y is.
        legend: names, with the numbers of their colours.
        whole_x: whether x counts, with a tick at each whole number.
        width: of the picture, pixels.
        height: of the picture, pixels.
    """

    title: str
    across: tuple[float, float]
    upward: tuple[float, float]
    x_label: str
    y_label: str
    legend: Mapping[str, int]
    whole_x: bool = False
    width: int = 760
    height: int = 460
    image: Image.Image = field(init=False)

    def __post_init__(self) -> None:
        """Draw the frame."""
        self._font = ImageFont.load_default(size=14)
        self._side = max((self._font.getlength(name) for name in self.legend), default=0) + 40
        self.image = Image.new("RGB", (self.width, self.height), "white")
        self.draw = ImageDraw.Draw(self.image)
        self.upward = _widened(self.upward)
        self.across = (self.across[0] - 0.5, self.across[1] + 0.5) if self.whole_x else _widened(self.across)
        self._draw_axes()
        self._draw_legend()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a value."""
        (left, right), (low, high) = self.across, self.upward
        return (
            _LEFT + self._room[0] * (x - left) / (right - left),
            self.height - _BOTTOM - self._room[1] * (y - low) / (high - low),
        )

    def dot(self, x: float, y: float, number: int, radius: float = 5) -> None:
        """A dot in the number-th colour."""
        across, down = self.place(x, y)
        self.draw.ellipse(
            (across - radius, down - radius, across + radius, down + radius), fill=colour_of(number)
        )

    def line(self, points: Sequence[tuple[float, float]], number: int) -> None:
        """A line in the number-th colour, with a dot at each point."""
        self.draw.line([self.place(*point) for point in points], fill=colour_of(number), width=3)
        for point in points:
            self.dot(*point, number, radius=4)

    def bar(self, x: float, y: float, half: tuple[float, float], number: int) -> None:
        """Thin lines to both sides of a value: its spread along x and y."""
        for ends in (((x - half[0], y), (x + half[0], y)), ((x, y - half[1]), (x, y + half[1]))):
            self.draw.line([self.place(*end) for end in ends], fill=colour_of(number), width=1)

    @property
    def _room(self) -> tuple[float, float]:
        return self.width - _LEFT - _RIGHT - self._side, self.height - _TOP - _BOTTOM

    def _draw_axes(self) -> None:
        draw, font = self.draw, self._font
        right, bottom = _LEFT + self._room[0], self.height - _BOTTOM
        draw.text((_LEFT, 10), self.title, fill="black", font=font)
        for value in ticks(*self.upward):
            _, y = self.place(self.across[0], value)
            draw.line((_LEFT, y, right, y), fill=_GRID)
            draw.text((_LEFT - 8, y), f"{value:.4g}", fill="black", font=font, anchor="rm")
        for value in self._x_ticks():
            x, _ = self.place(value, self.upward[0])
            draw.line((x, bottom, x, bottom + 5), fill="black")
            draw.text((x, bottom + 8), f"{value:.4g}", fill="black", font=font, anchor="ma")
        draw.rectangle((_LEFT, _TOP, right, bottom), outline="black")
        draw.text(
            (_LEFT + self._room[0] / 2, self.height - 16), self.x_label, fill="black", font=font, anchor="mm"
        )
        upright = Image.new("RGB", (round(self._room[1]), 20), "white")
        ImageDraw.Draw(upright).text(
            (upright.width / 2, 10), self.y_label, fill="black", font=font, anchor="mm"
        )
        self.image.paste(upright.rotate(90, expand=True), (2, _TOP))

    def _x_ticks(self) -> Iterator[float]:
        if not self.whole_x:
            yield from ticks(*self.across)
            return
        yield from range(round(self.across[0] + 0.5), round(self.across[1] - 0.5) + 1)

    def _draw_legend(self) -> None:
        left = self.width - self._side
        for line, (name, number) in enumerate(self.legend.items()):
            y = _TOP + 10 + line * _LINE
            self.draw.ellipse((left, y - 5, left + 10, y + 5), fill=colour_of(number))
            self.draw.text((left + 18, y), name, fill="black", font=self._font, anchor="lm")


def ticks(first: float, last: float) -> Iterator[float]:
    """A few round numbers from ``first`` to ``last``.

    >>> [round(value, 1) for value in ticks(0.0, 1.0)]
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (last - first) / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    number = -floor(-first / step)
    while number * step <= last + step * 1e-9:
        yield number * step
        number += 1


def _widened(span: tuple[float, float]) -> tuple[float, float]:
    """A little room at both ends, and some where there is none."""
    low, high = span
    room = (high - low) * _MARGIN or 0.05
    return low - room, high + room
