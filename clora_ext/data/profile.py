"""The colour profile that a picture carries, and what its colours are in sRGB."""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from clora_ext.formats.text import one_line

__all__ = ["Profile", "ProfileError", "read_profile"]

SAME = 2  # levels of 255 that no eye tells apart: how far an encoding of sRGB may lie from ours
LONGEST_NAME = 40
COLOURS = {"RGB": "RGB", "GRAY": "gray", "CMYK": "CMYK", "Lab": "Lab"}
SPACE_OF_MODE = {"RGB": "RGB", "L": "GRAY", "I;16": "GRAY", "CMYK": "CMYK"}
UNUSABLE = (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError, LookupError)


class ProfileError(Exception):  # becomes a note: a bad profile costs no picture
    """A profile cannot be used; the text continues a sentence that begins with ``its colour profile``."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A colour profile that can be used.

    Attributes:
        name: its own description, on one short line; may be empty.
        space: the colours that it describes: ``RGB``, ``GRAY``, ``CMYK`` or another of ICC's names.
        is_srgb: whether it describes sRGB, which needs no conversion.
    """

    name: str
    space: str
    is_srgb: bool
    _handle: ImageCms.ImageCmsProfile

    def in_srgb(self, image: Image.Image) -> Image.Image:
        """The picture's colours in sRGB, as mode RGB.

        The rendering intent is the perceptual one, made for pictures that go from one device to another: the
        tables of a printer's profile fit its colours into those of a screen. A profile made of primaries and
        curves (Adobe RGB, Display P3) has no such tables: with it the intent is the relative colorimetric
        one, so that each colour that sRGB has is kept as it is, and others become the nearest.

        Args:
            image: mode L, I;16, RGB or CMYK, without transparency.

        Raises:
            ProfileError: the profile is for another kind of colours, or the colour engine refuses.
        """
        if SPACE_OF_MODE.get(image.mode) != self.space:
            theirs, ours = (COLOURS.get(space, "other") for space in (self.space, SPACE_OF_MODE[image.mode]))
            message = f"is for {theirs} colours, not {ours}"
            raise ProfileError(message)
        if image.mode == "I;16":
            return self._deep_gray_in_srgb(image)
        return _transformed(image, self._handle, ImageCms.Intent.PERCEPTUAL)

    def _deep_gray_in_srgb(self, image: Image.Image) -> Image.Image:
        """16-bit gray, each of its 65,536 levels converted once and exactly.

        The colour engine's shortcut samples a curve at a few hundred places, which are too few for the steep
        beginning of a linear one: shadows come out ten levels of 255 too dark.
        """
        every = Image.fromarray(np.arange(1 << 16, dtype=np.uint16).reshape(256, 256))
        exact = ImageCms.Flags.NOOPTIMIZE
        levels = np.asarray(_transformed(every, self._handle, ImageCms.Intent.PERCEPTUAL, exact))
        return Image.fromarray(levels.reshape(1 << 16, 3)[np.asarray(image)])


def read_profile(data: object) -> Profile:
    """The profile in ``data``, a picture's ``icc_profile``.

    Raises:
        ProfileError: it cannot be read.
    """
    try:
        handle = ImageCms.ImageCmsProfile(io.BytesIO(data if isinstance(data, bytes) else b""))
        inside = handle.profile
        name = one_line(inside.profile_description or "", LONGEST_NAME)
        space = inside.xcolor_space.strip()
    except UNUSABLE as error:
        message = "cannot be read"
        raise ProfileError(message) from error
    return Profile(name, space, _is_srgb(handle, space), handle)


def _is_srgb(handle: ImageCms.ImageCmsProfile, space: str) -> bool:
    """Whether it moves no colour: there are dozens of profiles of sRGB, under as many names.

    Asked with the colorimetric intent: the perceptual tables of the ICC's own sRGB profile change colours.
    """
    if space not in {"RGB", "GRAY"}:
        return False
    samples = _samples(space)
    try:
        seen = _transformed(samples, handle, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except ProfileError:
        return False
    there, here = (np.asarray(one, dtype=np.int16) for one in (seen, samples.convert("RGB")))
    return int(np.abs(there - here).max()) <= SAME


def _samples(space: str) -> Image.Image:
    """Colours from everywhere: every gray, or each of 17 levels of red with each of green and blue."""
    if space == "GRAY":
        return Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    levels = np.linspace(0, 255, 17).round()
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return Image.fromarray(lattice.reshape(17 * 17, 17, 3).astype(np.uint8))


def _transformed(
    image: Image.Image,
    handle: ImageCms.ImageCmsProfile,
    intent: ImageCms.Intent,
    flags: ImageCms.Flags = ImageCms.Flags.NONE,
) -> Image.Image:
    try:
        transform = ImageCms.buildTransform(handle, _srgb(), image.mode, "RGB", intent, flags)
        seen = Image.new("RGB", image.size)
        transform.apply(image, seen)
    except UNUSABLE as error:
        message = "cannot be used"
        raise ProfileError(message) from error
    return seen


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
