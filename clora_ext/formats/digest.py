"""The sha256 of files, read a few megabytes at a time."""

from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from clora_ext.errors import CheckpointError

__all__ = ["file_sha256", "stream_sha256"]

_CHUNK = 1 << 22


def stream_sha256(file: BinaryIO) -> str:
    """sha256, as 64 hex digits, of everything from where ``file`` stands to its end.

    >>> from io import BytesIO
    >>> stream_sha256(BytesIO(b""))[:12]
    'e3b0c44298fc'
    """
    digest = sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a whole file, as 64 hex digits.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return stream_sha256(file)
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise CheckpointError(message, fix="check the path and its permissions") from error
