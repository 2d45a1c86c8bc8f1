"""A picture's pixels, in the size and the range that the model takes."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clora_ext.data.cut import Cut
from clora_ext.data.decode import decode
from clora_ext.data.picture import Picture
from clora_ext.data.regular import Unusable, dataset_error, open_regular, sha256_of, unreadable
from clora_ext.data.subset import INTERPOLATIONS
from clora_ext.errors import DatasetError
from clora_ext.formats.text import escaped

if TYPE_CHECKING:  # a dataset is scanned without torch
    import torch

__all__ = ["as_pixels", "cut_out", "load_image", "load_pixels", "load_whole"]


def load_pixels(picture: Picture, cut: Cut, *, convert: bool) -> "torch.Tensor":
    """The picture, scaled and cut.

    Args:
        picture: as :func:`clora_ext.data.scan.scan` found it.
        cut: what is kept, and at which size.
        convert: as in the scan.

    Returns:
        float32 of shape (3, height, width), red, green, blue, from -1 (black) to 1.

    Raises:
        DatasetError: the file was changed or removed since the scan.
    """
    return as_pixels(load_image(picture, cut, convert=convert))


def load_image(picture: Picture, cut: Cut, *, convert: bool) -> Image.Image:
    """As :func:`load_pixels`, as an RGB picture."""
    return cut_out(load_whole(picture, convert=convert), cut, picture.subset.interpolation)


def cut_out(image: Image.Image, cut: Cut, interpolation: str = "lanczos") -> Image.Image:
    """The part of a whole picture that is kept, at its size, by one of :data:`INTERPOLATIONS`."""
    resampling = Image.Resampling[INTERPOLATIONS[interpolation]]
    return image.resize(cut.size, resampling, box=cut.box, reducing_gap=3.0)


def as_pixels(image: Image.Image) -> "torch.Tensor":
    """An RGB picture as float32 (3, height, width), from -1 (black) to 1."""
    import torch

    values = np.array(image, dtype=np.float32) / 127.5 - 1.0
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()


def load_whole(picture: Picture, *, convert: bool) -> Image.Image:
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
                return decode(file, convert=convert, apart=picture.subset.masks.alpha_mask).image
    except Unusable as error:
        raise dataset_error(picture.path, error) from error
    except OSError as error:
        raise dataset_error(picture.path, unreadable(error)) from error
    changed = f"{escaped(picture.path)} has changed since it was checked"
    raise DatasetError(changed, fix="run the command again")
