"""Decode one image file completely and distrust every byte: the only way from a file to RGB pixels."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageFile

from clora_ext.data.colour import as_rgb, refused, without_alpha
from clora_ext.data.jxl import JxlHeader, read_jxl_header
from clora_ext.data.kinds import HEADER, Opener, kind_of
from clora_ext.data.nclx import is_high_dynamic_range, read_nclx, wide_gamut_name
from clora_ext.data.regular import Unusable, unreadable

__all__ = ["LARGEST_BYTES", "LARGEST_PIXELS", "LARGEST_SIDE", "SMALLEST_SIDE", "Decoded", "decode"]

SMALLEST_SIDE = 16
LARGEST_SIDE = 16_384
LARGEST_PIXELS = 100_000_000
LARGEST_BYTES = 1 << 30
BY_NUMBERS = frozenset({"AVIF", "HEIC"})  # kinds that can tell their colours without a profile
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise over damaged or hostile bytes, found by reading them and by flipping bits.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture's pixels, upright and in RGB.

    Attributes:
        image: mode RGB.
        mode: the file's own colour mode, by Pillow's name.
        notes: what was done to make it RGB and upright.
        alpha: how opaque each pixel is, mode L, upright; None: it was not asked for, or all are.
    """

    image: Image.Image
    mode: str
    notes: tuple[str, ...]
    alpha: Image.Image | None = None


def decode(file: BinaryIO, *, convert: bool, apart: bool = False) -> Decoded:
    """All pixels of ``file``, upright and in RGB.

    Args:
        file: the image, opened in binary; its content counts, not its name.
        convert: also make conversions that change what is seen; see :func:`clora_ext.data.colour.as_rgb`.
        apart: whether transparency is no part of what is seen, but kept apart.

    Raises:
        Unusable: it is no picture, is damaged, cut short, too small or too large, or needs a conversion
            that was not asked for.
    """
    head = start_of(file)
    kind = kind_of(head)
    opener = kind.opener()
    with quiet(), damage("is damaged"):
        if kind.name == "JPEG XL":
            image = open_jxl(file, opener)
        else:
            refuse_early(file, head, kind.name, opener)
            image = opener(file)
        refuse_size(*image.size)
        notes = refuse_frames(image, convert=convert) + refuse_depth(head, image, convert=convert)
        image.load()
        refuse_size(*image.size)
        opaque, alpha = without_alpha(image) if apart else (image, None)
        rgb, changed = as_rgb(opaque, convert=convert)
        turned, rotation = upright(image, rgb)
        alpha = None if alpha is None else upright(image, alpha)[0]
        gamut = told_gamut(file, image) if kind.name in BY_NUMBERS else ()
    return Decoded(turned, image.mode, rotation + notes + changed + gamut, alpha)


def refuse_early(file: BinaryIO, head: bytes, kind: str, opener: Opener) -> None:
    """Raise for what is found out without the picture's decoder; leaves ``file`` at its start."""
    if kind == "WebP":
        refuse_size(*webp_size(head))  # its decoder reserves the whole canvas on opening
    if kind == "PNG":
        header = opener(file)
        refuse_size(*header.size)
        header.verify()  # the checksums, which decoding leaves out
        file.seek(0)
    if kind in BY_NUMBERS and is_high_dynamic_range(read_nclx(file)):
        raise Unusable(
            "is in HDR, whose light no 8-bit picture holds", "save it as an ordinary (SDR) picture"
        )


def told_gamut(file: BinaryIO, image: Image.Image) -> tuple[str, ...]:
    """A note on colours wider than sRGB that are told by numbers only, without a profile to convert them."""
    name = "" if image.info.get("icc_profile") else wide_gamut_name(read_nclx(file))
    return (f"its colours are those of {name}, told without a profile: taken as sRGB",) if name else ()


def open_jxl(file: BinaryIO, opener: Opener) -> ImageFile.ImageFile:
    """A JPEG XL picture, decoded as it is opened; the plugin tells nothing of frames and rotation."""
    header = read_jxl_header(file)
    refuse_size(header.width, header.height)
    if header.animated:  # of which the plugin gives the last frame
        raise Unusable("is an animation", "save its first frame as JPEG or PNG")
    image = without_panic(opener, file)
    forget_applied_orientation(image, header)
    return image


def without_panic(opener: Opener, file: BinaryIO) -> ImageFile.ImageFile:
    """``opener(file)``, where a panic of a decoder written in Rust is a fault of the file like any other."""
    try:
        return opener(file)
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as panic:
        message = "the decoder panicked"
        raise ValueError(message) from panic


def forget_applied_orientation(image: ImageFile.ImageFile, header: JxlHeader) -> None:
    """Drop EXIF data that would turn a picture twice: its decoder has obeyed the header's orientation.

    A JPEG file packed into JPEG XL is unpacked as it was, with EXIF data that nobody has obeyed yet.
    """
    packed_jpeg = bool(getattr(image, "jpeg", False))
    if header.orientation != 1 and not packed_jpeg:
        image.info.pop("exif", None)


def start_of(file: BinaryIO) -> bytes:
    """The first bytes of a file of acceptable length; leaves ``file`` at its start."""
    length = file.seek(0, 2)
    if length == 0:
        raise Unusable("is empty (0 bytes)", "copy it again from its source")
    if length > LARGEST_BYTES:
        raise Unusable(f"is too long ({length:,} bytes)", f"at most {LARGEST_BYTES:,} bytes can be used")
    file.seek(0)
    head = file.read(HEADER)
    file.seek(0)
    return head


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd files off the terminal; what matters becomes a note or an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def damage(problem: str) -> Iterator[None]:
    """Turn whatever a decoder raises over bad bytes into :class:`Unusable`."""
    try:
        yield
    except MemoryError as error:
        raise Unusable("needs more memory than there is", "scale it down, or close other programs") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:
            raise unreadable(error) from error
        cut = "trunc" in str(error).lower() or isinstance(error, EOFError)
        reason = "is cut short: its end is missing" if cut else f"{problem} and cannot be decoded"
        raise Unusable(reason, "copy it again from its source, or remove it") from error


def webp_size(head: bytes) -> tuple[int, int]:
    """Width and height according to a WebP file's first 32 bytes, for each of the format's three kinds."""
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def refuse_size(width: int, height: int) -> None:
    """Raise :class:`Unusable` for a picture that is too small to be of use or too large to decode."""
    if min(width, height) < SMALLEST_SIDE:
        raise Unusable(
            f"is too small ({width} x {height} px)", f"use pictures of at least {SMALLEST_SIDE} px a side"
        )
    if max(width, height) > LARGEST_SIDE or width * height > LARGEST_PIXELS:
        raise Unusable(
            f"is too large ({width} x {height} px)",
            f"scale it down: at most {LARGEST_SIDE:,} px a side and {LARGEST_PIXELS // 10**6} megapixels",
        )


def refuse_frames(image: ImageFile.ImageFile, *, convert: bool) -> tuple[str, ...]:
    """Raise :class:`Unusable` for an animation, unless its first frame is what was asked for."""
    frames = getattr(image, "n_frames", 1)
    if frames == 1 or image.format == "MPO":  # a phone's photo that carries a preview or a depth map
        return ()
    if image.format == "HEIF":
        if not convert:
            raise refused(f"a file of {frames} pictures", "use the main one")
        return (f"the main one of {frames} pictures",)
    if not convert:
        raise refused(f"an animation of {frames} frames", "use its first frame")
    return (f"first of {frames} frames",)


def refuse_depth(head: bytes, image: ImageFile.ImageFile, *, convert: bool) -> tuple[str, ...]:
    """Raise :class:`Unusable` for 16 bits a channel in colour: Pillow would silently keep the upper 8.

    16-bit gray has a mode of its own and is left to :func:`clora_ext.data.colour.as_rgb`.
    """
    sixteen = 16
    if image.format != "PNG" or head[24] != sixteen or image.mode.startswith("I"):
        return ()
    if not convert:
        raise refused("of 16 bits a channel", "scale it to 8 bits")
    return ("16 bits scaled to 8",)


def upright(image: Image.Image, rgb: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """``rgb`` turned as the camera's EXIF data in ``image`` says, with a note if that changed anything."""
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except DAMAGE:
        return rgb, ("EXIF data damaged: not rotated",)
    return (rgb, ()) if turn is None else (rgb.transpose(turn), ("rotated by EXIF",))
