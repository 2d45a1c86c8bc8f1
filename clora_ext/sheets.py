"""Contact sheets: labelled rows of pictures in one PNG."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

__all__ = ["Row", "contact_sheet", "drawing_of"]

_MARGIN = 8
_LABEL_HEIGHT = 22
_SMALLEST_CELL = 128
_LARGEST_CELL = 512


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a sheet: a label above pictures of any size."""

    label: str
    images: Sequence[Image.Image]


def contact_sheet(rows: Sequence[Row], size: int) -> Image.Image:
    """All rows below each other; pictures are fitted into square cells, keeping their proportions.

    Args:
        rows: from the top.
        size: side of a cell, pixels; taken as 128 at least, so that a person can judge small pictures, and
            512 at most.
    """
    cell = min(max(size, _SMALLEST_CELL), _LARGEST_CELL)
    columns = max(len(row.images) for row in rows)
    width = columns * (cell + _MARGIN) + _MARGIN
    height = len(rows) * (cell + _LABEL_HEIGHT + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for number, row in enumerate(rows):
        top = _MARGIN + number * (cell + _LABEL_HEIGHT + _MARGIN)
        draw.text((_MARGIN, top), row.label, fill="black", font=font)
        for column, image in enumerate(row.images):
            fitted = ImageOps.contain(image.convert("RGB"), (cell, cell), Image.Resampling.LANCZOS)
            left = _MARGIN + column * (cell + _MARGIN)
            sheet.paste(fitted, (left, top + _LABEL_HEIGHT))
    return sheet


def drawing_of(sheet: Image.Image) -> Image.Image:
    """The first picture of the last of a concept's three rows: what the model drew once it had learned it.

    Raises:
        ValueError: this is no sheet of three rows.
    """
    cell, rest = divmod(sheet.height - _MARGIN - 3 * (_LABEL_HEIGHT + _MARGIN), 3)
    sane = _SMALLEST_CELL <= cell <= _LARGEST_CELL and not (sheet.width - _MARGIN) % (cell + _MARGIN)
    if rest or not sane:
        message = f"a picture of {sheet.width} x {sheet.height} pixels is no contact sheet"
        raise ValueError(message)
    top = sheet.height - _MARGIN - cell
    return sheet.crop((_MARGIN, top, _MARGIN + cell, top + cell))
