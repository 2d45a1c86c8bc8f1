"""Small JSON files in the user's cache folder. That one is missing or damaged is never a reason to fail.

What a file says is believed only if nobody else could have written it.
"""

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from .strict_json import read_json

__all__ = ["cache_folder", "read_cached", "write_cached"]

_LARGEST = 1 << 20  # bytes of a file


def read_cached(name: str) -> Any:  # noqa: ANN401 - whatever the file says
    """What the file ``name`` holds; None: there is none that can be believed."""
    with suppress(OSError, RuntimeError, ValueError):  # RecursionError is a RuntimeError
        return read_json(_read(name))
    return None


def write_cached(name: str, content: object) -> None:
    """Replace the file ``name`` as a whole, where that is allowed; another process may be reading it."""
    with suppress(OSError, RuntimeError):
        _write(name, json.dumps(content))


def cache_folder() -> Path:
    """clora's own; RuntimeError: this user has no home."""
    wanted = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of that variable: a relative path is to be ignored.
    cache = Path(wanted) if Path(wanted).is_absolute() else Path.home() / ".cache"
    return cache / "clora"


def _file(name: str) -> Path:
    return cache_folder() / name


def _write(name: str, text: str) -> None:
    file = _file(name)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as partial:
        try:
            partial.write(text)
            partial.close()
            os.replace(partial.name, file)
        except OSError:
            Path(partial.name).unlink(missing_ok=True)
            raise


def _read(name: str) -> str:
    """The file's text.

    Raises:
        OSError: there is none, or somebody else could have written it.
    """
    # A pipe in its place must not make us wait, nor a link lead elsewhere; Windows has neither flag.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(_file(name), flags), "rb") as file:
        found = os.fstat(file.fileno())
        own = os.name == "nt" or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)
        if not stat.S_ISREG(found.st_mode) or not own:
            message = "not a file of this user's own"
            raise OSError(message)
        return file.read(_LARGEST).decode("utf-8")
