"""A picture's pixels, in the size and the range that the model takes."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clora_ext.data.decode import decode
from clora_ext.data.picture import Picture
from clora_ext.data.regular import Unusable, dataset_error, open_regular, sha256_of, unreadable
from clora_ext.errors import DatasetError
from clora_ext.formats.text import escaped

if TYPE_CHECKING:  # a dataset is scanned without torch
    import torch

__all__ = ["cover_corner", "cover_crop", "load_image", "load_pixels"]


def load_pixels(picture: Picture, width: int, height: int, *, convert: bool) -> "torch.Tensor":
    """The picture, scaled to cover (width, height) and cropped about its centre.

    Args:
        picture: as :func:`clora_ext.data.scan.scan` found it.
        width: of the result, pixels.
        height: of the result, pixels.
        convert: as in the scan.

    Returns:
        float32 of shape (3, height, width), red, green, blue, from -1 (black) to 1.

    Raises:
        DatasetError: the file was changed or removed since the scan.
    """
    import torch

    image = load_image(picture, width, height, convert=convert)
    values = np.array(image, dtype=np.float32) / 127.5 - 1.0
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()


def load_image(picture: Picture, width: int, height: int, *, convert: bool) -> Image.Image:
    """As :func:`load_pixels`, as an RGB picture."""
    return cover_crop(_decode_unchanged(picture, convert=convert), width, height)


def _decode_unchanged(picture: Picture, *, convert: bool) -> Image.Image:
    """The whole picture, upright and in RGB, provided that its file is still the one that was checked.

    Args:
        picture: as :func:`clora_ext.data.scan.scan` found it.
        convert: as in the scan.

    Raises:
        DatasetError: the file was changed or removed since the scan, or the disk fails.
    """
    try:
        with open_regular(picture.path) as file:
            if sha256_of(file) == picture.sha256:
                return decode(file, convert=convert).image
    except Unusable as error:
        raise dataset_error(picture.path, error) from error
    except OSError as error:
        raise dataset_error(picture.path, unreadable(error)) from error
    changed = f"{escaped(picture.path)} has changed since it was checked"
    raise DatasetError(changed, fix="run the command again")


def cover_corner(width: int, height: int, across: int, down: int) -> tuple[int, int]:
    """(left, top) of the cut that :func:`cover_crop` makes, in pixels of the picture after scaling.

    >>> cover_corner(1000, 500, 256, 256)
    (128, 0)
    """
    scale = max(across / width, down / height)
    return round((width * scale - across) / 2), round((height * scale - down) / 2)


def cover_crop(image: Image.Image, width: int, height: int) -> Image.Image:
    """``image`` scaled until it just covers (width, height), and cropped about its centre to that size."""
    scale = max(width / image.width, height / image.height)
    across, down = min(width / scale, image.width), min(height / scale, image.height)
    left, top = (image.width - across) / 2, (image.height - down) / 2
    box = (left, top, left + across, top + down)
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
