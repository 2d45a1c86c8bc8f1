"""How each picture is cut, as a picture: what is kept stands out, what is cut away is dimmed."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from clora_ext.data import Cut, Picture, load_whole
from clora_ext.errors import UsageError, writing
from clora_ext.formats.text import escaped

from .plan import Plan

__all__ = ["write_crop_sheet"]

_CELL, _LABEL, _MARGIN, _COLUMNS = 240, 38, 8, 5
_MOST = 200
_DIMMED = 0.3  # of its brightness
_FRAME = (255, 64, 64)
_KEY = "clora"
_MARK = "crop sheet"


def write_crop_sheet(plan: Plan, file: Path) -> int:
    """Write a PNG of the plan's pictures, the first 200, with their cuts; give how many are on it.

    Args:
        plan: of pictures.
        file: the PNG; its folder is made.

    Raises:
        UsageError: there is something else in the file's place.
        DatasetError: a picture has changed since the plan was made.
        StorageError: the disk is full or refuses.
    """
    if file.exists() and not _is_crop_sheet(file):
        raise UsageError(f"{file} exists and is no crop sheet", fix="name another file")
    shown = list(zip(plan.dataset.pictures, plan.cuts, strict=True))[:_MOST]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    across, down = _CELL + _MARGIN, _CELL + _LABEL + _MARGIN
    sheet = Image.new("RGB", (columns * across + _MARGIN, rows * down + _MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for number, (picture, cut) in enumerate(shown):
        row, column = divmod(number, columns)
        left, top = _MARGIN + column * across, _MARGIN + row * down
        cell = _with_cut(load_whole(picture, convert=plan.converts), cut)
        sheet.paste(cell, (left + (_CELL - cell.width) // 2, top + (_CELL - cell.height) // 2))
        for line, text in enumerate(_labels(picture, cut)):
            draw.text((left, top + _CELL + 4 + 16 * line), _shortened(text, draw, font), "black", font=font)
    mark = PngImagePlugin.PngInfo()
    mark.add_text(_KEY, _MARK)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(file, format="PNG", pnginfo=mark)
    return len(shown)


def _is_crop_sheet(file: Path) -> bool:
    """Whether this module has written it."""
    try:
        with Image.open(file, formats=("PNG",)) as image:
            return bool(image.info.get(_KEY) == _MARK)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _with_cut(image: Image.Image, cut: Cut) -> Image.Image:
    """The picture in a cell's size, dimmed but for what is kept, which has a frame."""
    small = ImageOps.contain(image, (_CELL, _CELL), Image.Resampling.LANCZOS)
    scale = small.width / image.width, small.height / image.height
    left, top, right, bottom = (round(side * scale[place % 2]) for place, side in enumerate(cut.box))
    box = (left, top, max(right, left + 1), max(bottom, top + 1))
    dimmed = small.point([round(value * _DIMMED) for value in range(256)] * 3)
    dimmed.paste(small.crop(box), box[:2])
    ImageDraw.Draw(dimmed).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=_FRAME, width=2)
    return dimmed


def _labels(picture: Picture, cut: Cut) -> tuple[str, str]:
    """The file's name; the picture's size and the one that it gets, (width, height) in pixels."""
    mirrored = ", and mirrored" if picture.subset.augmentation.flip_aug else ""
    sizes = f"{picture.width} x {picture.height} to {cut.size[0]} x {cut.size[1]}"
    return escaped(picture.path.name), f"{sizes}{mirrored}"


def _shortened(
    text: str, draw: ImageDraw.ImageDraw, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont"
) -> str:
    """As much of a text as a cell is wide."""
    if draw.textlength(text, font=font) <= _CELL:
        return text
    while text and draw.textlength(f"{text}...", font=font) > _CELL:
        text = text[:-1]
    return f"{text}..."
