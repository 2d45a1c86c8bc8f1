"""Small pictures of a model, from what it drew right after it had learned each concept.

The pictures that it was taught with are never passed on.
"""

import io
from base64 import b64encode
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path

from PIL import Image, ImageOps

from clora_ext.sampling.contact_sheet import read_sample

__all__ = ["LARGEST_URL", "data_url", "drawings", "preview"]

LARGEST_URL = 100_000
"""Characters of a thumbnail in a header; web interfaces load it with every list of models."""

_SIDE = 512
_SMALLER = (512, 384, 256, 128)
_QUALITIES = (85, 70, 50)
_MOST = 16


def drawings(sheets: Sequence[Path]) -> list[Image.Image]:
    """One drawing of each contact sheet, of many the last 16; sheets that cannot be read are left out."""
    found: list[Image.Image] = []
    for sheet in reversed(sheets):
        drawing = read_sample(sheet)  # one that is missing is no reason not to export
        if drawing is not None:
            found.insert(0, drawing)
        if len(found) == _MOST:
            break
    return found


def preview(images: Sequence[Image.Image]) -> bytes | None:
    """A PNG of 512 x 512 pixels with all of them; None if there are none."""
    if not images:
        return None
    written = io.BytesIO()
    _grid(images).save(written, "PNG")
    return written.getvalue()


def data_url(images: Sequence[Image.Image]) -> str | None:
    """The same as a JPEG in a data URL of at most :data:`LARGEST_URL` characters."""
    if not images:
        return None
    grid = _grid(images)
    for side in _SMALLER:
        for quality in _QUALITIES:
            written = io.BytesIO()
            grid.resize((side, side), Image.Resampling.LANCZOS).save(written, "JPEG", quality=quality)
            url = f"data:image/jpeg;base64,{b64encode(written.getvalue()).decode('ascii')}"
            if len(url) <= LARGEST_URL:
                return url
    return None  # pragma: no cover - 128 x 128 pixels always fit


def _grid(images: Sequence[Image.Image]) -> Image.Image:
    """A square of square cells, row by row."""
    columns = ceil(sqrt(len(images)))
    cell = _SIDE // columns
    grid = Image.new("RGB", (_SIDE, _SIDE), "white")
    for number, image in enumerate(images):
        fitted = ImageOps.pad(image, (cell, cell), Image.Resampling.LANCZOS, color="white")
        grid.paste(fitted, (number % columns * cell, number // columns * cell))
    return grid
