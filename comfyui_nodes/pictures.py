"""Pictures between the graph and the disk."""

import io
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from PIL import Image

from clora_ext.data import refuse_no_folder
from clora_ext.errors import DatasetError, UsageError, writing

from . import host

__all__ = ["dataset_folder", "folder_state", "given_folder", "save_pictures"]


def save_pictures(pictures: Sequence[Image.Image], captions: Sequence[str]) -> Path:
    """A folder with the pictures and their captions; equal ones give the same folder.

    It lies in ComfyUI's temporary folder, which is emptied when ComfyUI starts: no picture is kept.

    Raises:
        DatasetError: there are no pictures, or not as many captions as pictures.
        StorageError: the disk is full or refuses.
    """
    given = [caption.strip() for caption in captions if caption.strip()]
    if not pictures:
        raise DatasetError("there are no pictures to teach", fix="connect a batch of pictures")
    if given and len(given) != len(pictures):
        message = f"there are {len(given)} captions for {len(pictures)} pictures"
        raise DatasetError(message, fix="write one line for each picture, or none at all")
    files = [_png(picture) for picture in pictures]
    digest = sha256(b"".join(sha256(content).digest() for content in files))
    digest.update("\n".join(given).encode())
    folder = host.temporary_folder("clora", digest.hexdigest()[:32])
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(files, start=1):
            (folder / f"{number:04}.png").write_bytes(content)
        for number, caption in enumerate(given, start=1):
            (folder / f"{number:04}.txt").write_text(f"{caption}\n", encoding="utf-8")
    return folder


def _png(picture: Image.Image) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG", compress_level=1)
    return written.getvalue()


def given_folder(path: str) -> Path:
    """A folder anywhere on the machine.

    Raises:
        UsageError: whoever started ComfyUI does not allow that, or it does not exist.
    """
    folder = _allowed_folder(path)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", fix="give the folder's full path")
    return folder


def dataset_folder(name: str, path: str) -> Path:
    """The pictures' folder: anywhere on the machine if ``path`` is given, else inside ComfyUI's input folder.

    Raises:
        UsageError: a folder anywhere is not allowed, or ``name`` is no folder there.
        DatasetError: ``path`` is no folder but a file, an archive or nothing.
    """
    if not path.strip():
        return host.input_folder(name)
    folder = _allowed_folder(path)
    refuse_no_folder(folder)
    return folder


def _allowed_folder(path: str) -> Path:
    """``path``, if graphs may name folders anywhere."""
    if not host.any_folder_allowed():
        message = "a graph may read and write only inside of ComfyUI's own folders"
        fix = "leave the field empty, or start ComfyUI with the environment variable CLORA_ANY_FOLDER=1"
        raise UsageError(message, fix=fix)
    return Path(path.strip()).expanduser()


def folder_state(folder: Path) -> str:
    """Changes whenever a file below the folder does."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [f"{file.relative_to(folder)} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return sha256("\n".join(states).encode("utf-8", "surrogateescape")).hexdigest()
