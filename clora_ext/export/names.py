"""File names that every program and every file system takes."""

import re

from clora_ext.errors import UsageError
from clora_ext.formats.text import quoted

__all__ = ["check_name", "safe_name"]

# Windows refuses these; brackets and commas have a meaning in Automatic1111's and ComfyUI's file lists.
_FORBIDDEN = frozenset('[],/\\<>:"|?*')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_JOINER = "\u200d"  # holds composed emoji together
# 255 is the limit of most file systems; the rest is for endings, also those of files that are being written.
_MOST_BYTES = 200
_MOST_SHOWN = 80
_ENDING = ".safetensors"
_FALLBACK = "clora-model"


def check_name(name: str) -> str:
    """The name of a model's files, without their endings.

    >>> check_name("my dogs v2.safetensors")
    'my dogs v2'

    Raises:
        UsageError: it cannot be a file name everywhere; the remedy is the nearest one that can.
    """
    stem = name[: -len(_ENDING)] if name.lower().endswith(_ENDING) else name
    safe = safe_name(stem)
    if stem != safe:
        message = f"{quoted(name, _MOST_SHOWN)} cannot name a file in every program: {_problem(stem)}"
        raise UsageError(message, fix=f"try --name '{safe}'")
    return stem


def safe_name(text: str) -> str:
    """``text`` with everything replaced that a file name may not hold, at most 200 bytes long.

    >>> safe_name("sks/[dog], 2"), safe_name(".."), safe_name("NUL")
    ('sks_dog_ 2', 'clora-model', '_NUL')
    """
    kept = "".join("_" if _is_bad(character) else character for character in text)
    name = re.sub(r"_{2,}", "_", kept) if kept != text else text
    name = _cut(name).strip(" .") if kept == text else _cut(name).strip(" ._")
    if not name:
        return _FALLBACK
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def _is_bad(character: str) -> bool:
    unseen = not character.isprintable() and character != _JOINER
    return unseen or character in _FORBIDDEN


def _cut(name: str) -> str:
    """The beginning that fits, never half a character."""
    return name.encode("utf-8")[:_MOST_BYTES].decode("utf-8", errors="ignore")


def _problem(name: str) -> str:
    bad = sorted({character for character in name if _is_bad(character)})
    if bad:
        return f"it holds {' '.join(map(quoted, bad))}"
    if len(name.encode("utf-8")) > _MOST_BYTES:
        return f"it is longer than {_MOST_BYTES} bytes"
    return "it is empty, reserved, or begins or ends with a dot or space"
