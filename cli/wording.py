"""How values read: text that strangers wrote, sizes, durations, commands to copy."""

import os
import shlex
from datetime import datetime, timezone
from pathlib import Path

from clora_ext.formats.text import escaped_lines as printable
from clora_ext.formats.text import size

__all__ = ["ago", "command", "counted", "duration", "printable", "short_hash", "size"]

_SHORT = 12
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours when there are any.

    >>> duration(41.4), duration(3725)
    ('0:41', '1:02:05')
    """
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // _HOUR, whole % _HOUR // _MINUTE, whole % _MINUTE
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ago(moment: datetime) -> str:
    """How long ago, in the largest unit that fits.

    >>> ago(datetime.now(timezone.utc))
    'just now'
    """
    seconds = (datetime.now(timezone.utc) - moment).total_seconds()
    for name, length in (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE)):
        if seconds >= length:
            return f"{counted(int(seconds // length), name)} ago"
    return "just now"


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "picture"), counted(5, "picture")
    ('1 picture', '5 pictures')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def short_hash(digest: str) -> str:
    """The first digits of a hash, enough to tell checkpoints apart."""
    return digest[:_SHORT]


def command(*words: str | Path) -> str:
    """A command line that can be pasted into the user's shell.

    >>> command("clora", "generate", "-p", "a photo of sks dog")
    'clora generate -p "a photo of sks dog"'
    """
    return " ".join(_quoted(printable(word)) for word in words)


def _quoted(word: str) -> str:
    """One word of a command line; double quotes where they are enough, since every shell knows them."""
    if word and shlex.quote(word) == word:
        return word
    harmless = not set(word) & set('"$`\\!%\n')
    return f'"{word}"' if harmless or os.name == "nt" else shlex.quote(word)
