"""Convert any colour mode to 8-bit RGB, and say what that changes."""

import io

import numpy as np
from PIL import Image, ImageCms

from clora_ext.data.regular import Unusable

__all__ = ["as_rgb", "refused"]

OPAQUE = 255
LOSSLESS = {
    "P": "palette converted to RGB",
    "L": "grayscale converted to RGB",
    "1": "black and white converted to RGB",
    "LA": "grayscale with opaque alpha converted to RGB",
    "RGBA": "opaque alpha dropped",
    "PA": "palette converted to RGB",
}


def refused(what: str, how: str) -> Unusable:
    """The refusal of a picture that would look different once converted, when nobody asked for that."""
    return Unusable(f"is {what}", f"pass --convert to {how}, or save it as an 8-bit RGB picture")


def as_rgb(image: Image.Image, *, convert: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """``image`` in mode RGB, 8 bits a channel, with notes on what was done to it.

    Conversions that cannot be seen (palettes, gray, an alpha channel that is opaque) are always made.

    Args:
        image: a loaded picture of any mode; it is not changed.
        convert: also make the conversions that can be seen: transparency onto white, CMYK by its
            embedded profile, 16 bits to 8.

    Raises:
        Unusable: such a conversion is needed and ``convert`` is False.
    """
    if image.mode.startswith("I"):
        return from_16_bit(image, convert=convert)
    if image.mode == "CMYK":
        if not convert:
            raise refused("in CMYK, the colours of print", "turn it into RGB")
        return from_cmyk(image)
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        lowest = layered.getchannel("A").getextrema()[0]
        if lowest != OPAQUE:
            if not convert:
                raise refused("partly transparent", "put it on white")
            return on_white(layered), ("transparency put on white",)
        return layered.convert("RGB"), (LOSSLESS.get(image.mode, "opaque alpha dropped"),)
    if image.mode == "RGB":
        return image, ()
    return image.convert("RGB"), (LOSSLESS.get(image.mode, f"{image.mode} converted to RGB"),)


def on_white(layered: Image.Image) -> Image.Image:
    """An RGBA picture as RGB, on a white background."""
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def from_16_bit(image: Image.Image, *, convert: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """A 16-bit gray picture as RGB: 0 .. 65535 scaled to 0 .. 255 (Pillow's own conversion clips)."""
    if not convert:
        raise refused("of 16 bits a channel", "scale it to 8 bits")
    deep = np.asarray(image).astype(np.float32)
    gray = np.clip(np.rint(deep / 257.0), 0, 255).astype(np.uint8)
    notes: tuple[str, ...] = ("16 bits scaled to 8",)
    if "transparency" in image.info:
        gray = np.where(deep == image.info["transparency"], np.uint8(255), gray)
        notes += ("transparency put on white",)
    return Image.fromarray(gray).convert("RGB"), notes


def from_cmyk(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """A CMYK picture as sRGB: by its embedded profile, or by the plain formula if it has no usable one."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB"), ("CMYK converted to RGB without a colour profile",)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB"), ("CMYK converted to RGB; its colour profile is unusable",)
    if rgb is None:  # only with inPlace=True
        raise AssertionError
    return rgb, ("CMYK converted to RGB by its colour profile",)
