"""What the check of a configuration says about one key."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clora_ext.formats.text import escaped

__all__ = ["Finding", "Verdict", "errors", "in_order", "notes"]

_LONGEST = 60  # characters of a value in a message

Verdict = Literal["honour", "neutral", "note", "refuse", "error"]
"""``honour``: it is done; ``neutral``: it asks for nothing; ``note``: it changes nothing, and why is told;
``refuse``: clora does not do that; ``error``: it is no key, or no value of it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One key of one file.

    Attributes:
        path: of the file.
        line: on which it stands; None: nowhere in particular.
        key: its name; empty: the file itself.
        verdict: what becomes of it.
        message: why.
        suggestion: what to do about it; may be empty.
        value: as written; None where it does not matter.
    """

    path: Path
    line: int | None
    key: str
    verdict: Verdict
    message: str = ""
    suggestion: str = ""
    value: Any = None

    @property
    def place(self) -> str:
        """File and line.

        >>> Finding(Path("a/train.toml"), 3, "seed", "honour").place
        'a/train.toml:3'
        """
        return escaped(self.path) if self.line is None else f"{escaped(self.path)}:{self.line}"

    @property
    def sentence(self) -> str:
        """What it is about, why, and what to do.

        >>> Finding(Path("a"), 3, "seed", "error", "-1 is less than 0", value=-1).sentence
        'seed = -1: -1 is less than 0'
        """
        about = self.key if self.value is None else f"{self.key} = {_spelled(self.value)}"
        why = f"{self.message}; {self.suggestion}" if self.suggestion else self.message
        return f"{escaped(about)}: {why}" if about else why

    @property
    def is_error(self) -> bool:
        """Whether the file cannot be used as it is."""
        return self.verdict in {"refuse", "error"}

    @property
    def is_note(self) -> bool:
        """Whether there is something to be told besides."""
        return not self.is_error and bool(self.message)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": str(self.path),
            "line": self.line,
            "key": self.key,
            "verdict": self.verdict,
            "message": self.message,
            "suggestion": self.suggestion,
        }


def _spelled(value: object) -> str:
    """As TOML writes it, shortened.

    >>> _spelled([512, "a", True])
    '[512, "a", true]'
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def in_order(findings: Iterable[Finding], files: Sequence[Path]) -> list[Finding]:
    """By file, in the order in which they were named, and by line; the file's own come first."""
    return sorted(findings, key=lambda one: (files.index(one.path), one.line or 0))


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those for which the files cannot be used."""
    return [one for one in findings if one.is_error]


def notes(findings: Iterable[Finding]) -> list[Finding]:
    """Those that people should know besides."""
    return [one for one in findings if one.is_note]
