"""Convert any colour mode to 8-bit sRGB, and say what that changes."""

import numpy as np
from PIL import Image

from clora_ext.data.profile import ProfileError, read_profile
from clora_ext.data.regular import Unusable

__all__ = ["as_rgb", "refused", "without_alpha"]

OPAQUE = 255
GRAY = frozenset({"1", "L", "LA", "La"})
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
    """``image`` in mode RGB, 8 bits a channel, its colours in sRGB, with notes on what was done to it.

    Conversions that cannot be seen (palettes, gray, an alpha channel that is opaque) are always made, and so
    are those that an embedded colour profile asks for: the colours seen are those after it.

    Args:
        image: a loaded picture of any mode; it is not changed.
        convert: also make the conversions that can be seen: transparency onto white, CMYK by its
            embedded profile, 16 bits to 8.

    Raises:
        Unusable: such a conversion is needed and ``convert`` is False, or the values are no colours.
    """
    if image.mode == "F":
        raise Unusable("has floating-point values", "save it as an 8-bit RGB picture")
    if image.mode.startswith("I"):
        return from_16_bit(image, convert=convert)
    if image.mode == "CMYK":
        if not convert:
            raise refused("in CMYK, the colours of print", "turn it into RGB")
        return from_cmyk(image)
    if image.has_transparency_data:
        return from_layered(image, convert=convert)
    if image.mode == "RGB":
        return in_srgb(image, image, image.info)
    rgb, notes = in_srgb(own_colours(image), image.convert("RGB"), image.info)
    return rgb, (LOSSLESS.get(image.mode, f"{image.mode} converted to RGB"), *notes)


def without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours of ``image`` as if all were opaque, and how opaque they are, mode L; None: all are."""
    if not image.has_transparency_data:
        return image, None
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    opaque = own_colours(image) if image.mode in GRAY else layered.convert("RGB")
    opaque.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return opaque, None if alpha.getextrema()[0] == OPAQUE else alpha


def from_layered(image: Image.Image, *, convert: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture that may be transparent, by alpha, palette or colour key: opaque, or put on white."""
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    opaque = alpha.getextrema()[0] == OPAQUE
    if not opaque and not convert:
        raise refused("partly transparent", "put it on white")
    own = own_colours(image) if image.mode in GRAY else layered.convert("RGB")
    rgb, notes = in_srgb(own, layered.convert("RGB"), image.info)
    if opaque:
        return rgb, (LOSSLESS.get(image.mode, "opaque alpha dropped"), *notes)
    rgb.putalpha(alpha)
    return on_white(rgb), ("transparency put on white", *notes)


def own_colours(image: Image.Image) -> Image.Image:
    """What a colour profile speaks of: the one channel of a gray picture, three of any other."""
    return image.convert("L" if image.mode in GRAY else "RGB")


def in_srgb(
    own: Image.Image, plain: Image.Image, info: dict[str | tuple[int, int], object]
) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture's colours in sRGB, by its profile if it has one; and a note if that changes them.

    Args:
        own: its colours as stored, mode L, I;16 or RGB.
        plain: the same in mode RGB, read as sRGB; given back itself where that is right.
        info: Pillow's, of the picture.
    """
    if not info.get("icc_profile"):
        return plain, ()
    try:
        profile = read_profile(info["icc_profile"])
        if profile.is_srgb:
            return plain, ()
        rgb = profile.in_srgb(own)
    except ProfileError as error:
        return plain, (f"its colour profile {error}: colours taken as sRGB",)
    return rgb, (f"colours converted to sRGB from {profile.name or 'those of its profile'}",)


def on_white(layered: Image.Image) -> Image.Image:
    """An RGBA picture as RGB, on a white background."""
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def from_16_bit(image: Image.Image, *, convert: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """A 16-bit gray picture as RGB: 0 .. 65535 scaled to 0 .. 255 (Pillow's own conversion clips)."""
    if not convert:
        raise refused("of 16 bits a channel", "scale it to 8 bits")
    deep = np.asarray(image).astype(np.float32)
    gray = Image.fromarray(np.clip(np.rint(deep / 257.0), 0, 255).astype(np.uint8))
    own = image if image.mode == "I;16" else gray  # a profile's curve is steep in the shadows: all bits count
    rgb, profile_notes = in_srgb(own, gray.convert("RGB"), image.info)
    notes = ("16 bits scaled to 8", *profile_notes)
    if "transparency" in image.info:
        hidden = Image.fromarray((deep == image.info["transparency"]).astype(np.uint8) * 255)
        rgb.paste((255, 255, 255), mask=hidden)
        notes += ("transparency put on white",)
    return rgb, notes


def from_cmyk(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """A CMYK picture as sRGB: by its embedded profile, or by the plain formula if it has no usable one."""
    if not image.info.get("icc_profile"):
        return image.convert("RGB"), ("CMYK converted to RGB without a colour profile",)
    try:
        rgb = read_profile(image.info["icc_profile"]).in_srgb(image)
    except ProfileError as error:
        return image.convert("RGB"), (f"CMYK converted to RGB; its colour profile {error}",)
    return rgb, ("CMYK converted to RGB by its colour profile",)
