"""The pictures of a study's report: heat maps, incremental curves, plasticity against forgetting."""

from collections.abc import Mapping, Sequence
from math import isnan
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from clora_ext.metrics.spread import Spread

from .measured import Measured
from .plot import Plot

__all__ = ["curves", "frontier", "heat_map", "heat_maps"]

_LARGEST, _SMALLEST = 52, 6  # side of a cell, pixels
_WIDEST = 520  # of all cells together, as long as they are not smaller than that
_ROOM = 40  # of a cell in which a number can be read
_LABEL = 30
_LOW, _MIDDLE, _HIGH = np.array([178, 24, 43]), np.array([247, 247, 247]), np.array([33, 102, 172])
_DARK = 0.6  # from here on, numbers are white


def heat_maps(measured: Measured, *, normalised: bool) -> Image.Image:
    """One heat map for each strategy that has come to an end, side by side, on one scale."""
    every = {one: measured.mean_matrix(one, normalised=normalised) for one in measured.strategies}
    found = {one: matrix for one, matrix in every.items() if not np.isnan(matrix).all()} or every
    known = [value for matrix in found.values() for value in matrix.ravel() if not isnan(value)]
    span = (0.0, 1.0) if normalised or not known else (min(known), max(known))
    maps = [heat_map(matrix, one, span) for one, matrix in found.items()]
    across = min(3, len(maps))
    width, height = max(one.width for one in maps), max(one.height for one in maps)
    sheet = Image.new("RGB", (across * width, -(-len(maps) // across) * height), "white")
    for number, one in enumerate(maps):
        sheet.paste(one, (number % across * width, number // across * height))
    return sheet


def heat_map(matrix: NDArray[np.float64], title: str, span: tuple[float, float]) -> Image.Image:
    """A matrix with its numbers.

    Args:
        matrix: (T, T): rows are models, columns concepts, both in the order of teaching; NaN stays white.
        title: above it.
        span: the values that are red and blue.
    """
    count = len(matrix)
    cell = max(_SMALLEST, min(_LARGEST, _WIDEST // count))
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=12)
    image = Image.new("RGB", (max(_LABEL * 2 + count * cell, 260), _LABEL * 3 + count * cell), "white")
    draw = ImageDraw.Draw(image)
    draw.text((_LABEL, 8), title, fill="black", font=font)
    for number in range(0, count, 1 if cell >= _ROOM else 10):
        at = (number + 0.5) * cell
        draw.text((_LABEL + at, _LABEL * 2 - 8), f"{number + 1}", fill="black", font=small, anchor="ms")
        draw.text((_LABEL - 8, _LABEL * 2 + at), f"{number + 1}", fill="black", font=small, anchor="rm")
    for (model, concept), value in np.ndenumerate(matrix):
        if isnan(value):
            continue
        left, top = _LABEL + concept * cell, _LABEL * 2 + model * cell
        share = (value - span[0]) / (span[1] - span[0] or 1)
        gap = 2 if cell >= _ROOM else 1
        draw.rectangle((left, top, left + cell - gap, top + cell - gap), fill=_shade(share))
        if cell >= _ROOM:
            ink = "white" if abs(2 * share - 1) > _DARK else "black"
            middle = (left + cell / 2 - 1, top + cell / 2 - 1)
            draw.text(middle, f"{value:.2f}", fill=ink, font=small, anchor="mm")
    words = "down: after concept; across: concept"
    draw.text((_LABEL, image.height - 18), words, fill=(110, 110, 110), font=small)
    return image


def _shade(share: float) -> tuple[int, int, int]:
    """From red over white to blue; what is beyond the scale is as its end."""
    place = min(1.0, max(0.0, share))
    low, high, within = (_LOW, _MIDDLE, 2 * place) if place < 0.5 else (_MIDDLE, _HIGH, 2 * place - 1)  # noqa: PLR2004
    red, green, blue = np.rint(low + (high - low) * within).astype(int)
    return int(red), int(green), int(blue)


def curves(measured: Measured, *, normalised: bool) -> Image.Image:
    """Mean score of the concepts taught so far, over the number of concepts; mean over runs."""
    lines = {}
    for one in measured.strategies:
        matrix = measured.mean_matrix(one, normalised=normalised)
        means = [fmean(row[: number + 1]) for number, row in enumerate(matrix)]
        lines[one] = [(number + 1, mean) for number, mean in enumerate(means) if not isnan(mean)]
    known = [mean for line in lines.values() for _, mean in line] or [0.0, 1.0]
    most = max(len(run.concepts) for run in measured.schedule.runs)
    score = "score, 0 the base, 1 taught alone" if normalised else "score"
    plot = Plot(
        "Mean score of what was taught so far",
        (1, most),
        (min([*known, 0.0] if normalised else known), max([*known, 1.0] if normalised else known)),
        "concepts taught",
        score,
        _legend(measured, lines),
        whole_x=True,
    )
    for number, line in enumerate(lines.values()):
        plot.line(line, number)
    return plot.image


def _legend(measured: Measured, found: Mapping[str, Sequence[object]]) -> dict[str, int]:
    """Strategies of which something was found, with the colours that they have in every plot."""
    return {one: number for number, one in enumerate(measured.strategies) if found[one]}


def frontier(measured: Measured, *, normalised: bool) -> Image.Image:
    """What was learned against what was lost: a large dot for each strategy's mean, small ones for runs."""
    dots = {}
    for one in measured.strategies:
        learned = measured.figure("plasticity", one, normalised=normalised)
        lost = measured.figure("paper_forgetting", one, normalised=normalised)
        dots[one] = [(learned[pair], lost[pair]) for pair in sorted(learned.keys() & lost.keys())]
    known = [dot for found in dots.values() for dot in found] or [(0.0, 0.0)]
    plot = Plot(
        "Plasticity against forgetting: right and low is good",
        (min(x for x, _ in known), max(x for x, _ in known)),
        (min([0.0, *(y for _, y in known)]), max(y for _, y in known)),
        "plasticity: score right after teaching",
        "forgetting (the paper's)",
        _legend(measured, dots),
    )
    for number, found in enumerate(dots.values()):
        for x, y in found:
            plot.dot(x, y, number, radius=2.5)
        if found:
            across, down = (Spread.of(list(values)) for values in zip(*found, strict=True))
            spread = tuple(0.0 if isnan(one.sample) else one.sample for one in (across, down))
            plot.bar(across.mean, down.mean, (spread[0], spread[1]), number)
            plot.dot(across.mean, down.mean, number, radius=6)
    return plot.image
