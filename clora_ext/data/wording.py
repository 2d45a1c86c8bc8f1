"""Text that strangers wrote (file names, folder names, captions), made safe to show and to judge."""

import unicodedata
from pathlib import Path

__all__ = ["control_character", "shown"]

BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def control_character(text: str) -> int | None:
    r"""Where the first character stands that could steer a terminal or a parser; None if there is none.

    Control characters, line separators, halves of surrogate pairs and overrides of the writing
    direction count. Joiners, which emoji and several scripts need, do not.

    >>> control_character("sks\x1b[2J dog"), control_character("ein Hund")
    (3, None)
    """
    for position, character in enumerate(text):
        if character in BIDIRECTIONAL or unicodedata.category(character) in CONTROL_CATEGORIES:
            return position
    return None


def shown(name: str | Path) -> str:
    r"""``name`` with everything that does not print written as an escape, so that it fits a message.

    >>> shown("a\nb\u202e.png")
    'a\\nb\\u202e.png'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in str(name)
    )
