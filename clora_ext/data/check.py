"""Check one image file: read it completely, or say why it cannot be used."""

from dataclasses import dataclass
from pathlib import Path

from clora_ext.data.decode import decode
from clora_ext.data.regular import open_regular, sha256_of, unreadable

__all__ = ["Checked", "check_image"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found when one image file was read completely.

    Attributes:
        width: pixels, after the camera's rotation.
        height: pixels, likewise.
        bytes: size of the file.
        sha256: of the file's content.
        mode: the file's own colour mode, by Pillow's name.
        notes: what was done to make it RGB and upright.
        is_transparent: whether it has transparency that was kept apart.
    """

    width: int
    height: int
    bytes: int
    sha256: str
    mode: str
    notes: tuple[str, ...]
    is_transparent: bool = False


def check_image(path: Path, *, convert: bool, apart: bool = False) -> Checked:
    """Read the image file at ``path`` completely.

    Args:
        path: the file.
        convert: accept pictures that will look different once they are 8-bit RGB.
        apart: whether transparency is kept apart, as a mask.

    Raises:
        Unusable: with the reason and the remedy.
    """
    with open_regular(path) as file:
        decoded = decode(file, convert=convert, apart=apart)
        try:
            length, sha256 = file.seek(0, 2), sha256_of(file)
        except OSError as error:
            raise unreadable(error) from error
    width, height = decoded.image.size
    transparent = decoded.alpha is not None
    return Checked(width, height, length, sha256, decoded.mode, decoded.notes, transparent)
