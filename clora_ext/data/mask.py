"""Which parts of a picture count: a mask beside it, or its own transparency."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clora_ext.data.cut import Cut
from clora_ext.data.decode import decode
from clora_ext.data.regular import Unusable, dataset_error, open_regular, sha256_of, unreadable
from clora_ext.errors import DatasetError
from clora_ext.formats.text import escaped

if TYPE_CHECKING:  # a dataset is scanned without torch
    import torch

__all__ = ["Mask", "check_mask", "load_mask"]

_WHITE = 255
_MOST_APART = 1  # pixels: programs round sides differently


@dataclass(frozen=True, slots=True)
class Mask:
    """A picture's mask.

    Attributes:
        path: of the file: a picture whose red channel counts, black for nothing; or the picture itself.
        sha256: of the file's content.
        is_alpha: whether it is the picture's own transparency.
    """

    path: Path
    sha256: str
    is_alpha: bool = False


def check_mask(path: Path, size: tuple[int, int]) -> Mask:
    """Read a mask completely.

    Args:
        path: of its file.
        size: (width, height) of the picture, pixels; the mask may be of another size in its proportions.

    Raises:
        Unusable: it is no picture, of other proportions, or black everywhere.
    """
    try:
        with open_regular(path) as file:
            image = decode(file, convert=True).image
            sha256 = sha256_of(file)
    except OSError as error:
        raise unreadable(error) from error
    except Unusable as error:
        raise Unusable(f"has a mask, {escaped(path.name)}, that {error.reason}", error.fix) from error
    width, height = image.size
    if abs(width * size[1] / height - size[0]) > _MOST_APART * max(1.0, size[1] / height):
        reason = f"has a mask of another shape: {width} x {height} px for {size[0]} x {size[1]}"
        raise Unusable(reason, f"save {escaped(path.name)} in the picture's proportions")
    if image.getchannel("R").getextrema()[1] == 0:
        raise Unusable(
            "has a mask that is black everywhere", f"paint what counts in {escaped(path.name)} white"
        )
    return Mask(path, sha256)


def load_mask(mask: Mask, cut: Cut, picture: tuple[int, int]) -> "torch.Tensor":
    """What counts of a picture that is cut so.

    Args:
        mask: of the picture.
        cut: of the picture.
        picture: its (width, height), pixels.

    Returns:
        float32 (height, width) of the cut, from 0 (nothing) to 1.

    Raises:
        DatasetError: the file was changed or removed since it was checked.
    """
    import torch

    image = _load(mask)
    across, down = image.width / picture[0], image.height / picture[1]
    left, top, right, bottom = cut.box
    box = (left * across, top * down, min(right * across, image.width), min(bottom * down, image.height))
    small = image.resize(cut.size, Image.Resampling.BOX, box=box)
    return torch.from_numpy(np.array(small, dtype=np.float32) / _WHITE)


def _load(mask: Mask) -> Image.Image:
    """The mask in mode L, upright."""
    try:
        with open_regular(mask.path) as file:
            if sha256_of(file) == mask.sha256:
                decoded = decode(file, convert=True, apart=mask.is_alpha)
                if mask.is_alpha and decoded.alpha is not None:
                    return decoded.alpha
                return decoded.image.getchannel("R")
    except Unusable as error:
        raise dataset_error(mask.path, error) from error
    except OSError as error:
        raise dataset_error(mask.path, unreadable(error)) from error
    raise DatasetError(f"{escaped(mask.path)} has changed since it was checked", fix="run the command again")
