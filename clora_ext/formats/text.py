"""Text that strangers wrote (names of files or tensors, captions, metadata), judged and made safe to show."""

import unicodedata
from collections.abc import Iterable

__all__ = [
    "control_character",
    "counted",
    "escaped",
    "escaped_lines",
    "is_line",
    "listed",
    "one_line",
    "quoted",
    "size",
]

_KILO = 1000

# Composed emoji and several scripts cannot be read without them, and they steer no terminal.
_JOINERS = "\u200c\u200d"
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def escaped(text: object) -> str:
    r"""``text`` on one line, with an escape for everything that does not print; for messages.

    >>> escaped("a\nb\u202e.png")
    'a\\nb\\u202e.png'
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        character if _prints(character) else character.encode("unicode_escape").decode("ascii")
        for character in shown
    )


def escaped_lines(text: object) -> str:
    r"""The same, but line ends stay; for a terminal.

    >>> escaped_lines("sks\x1b[2J dog\nb\u202e.png")
    'sks\\x1b[2J dog\nb\\u202e.png'
    """
    return "\n".join(map(escaped, str(text).split("\n")))


def quoted(text: str, most: int = 120) -> str:
    r"""The first ``most`` characters of ``text``, escaped and in quotation marks; for names in messages.

    >>> quoted("sks\tdog"), quoted("model.diffusion_model", 5)
    ("'sks\\tdog'", "'model...'")
    """
    return f"'{escaped(text)}'" if len(text) <= most else f"'{escaped(text[:most])}...'"


def one_line(text: str, most: int) -> str:
    r"""``text`` on one line of at most ``most`` characters, with blanks for what does not print; for labels.

    >>> one_line("sks\x1b[31m\n  dog", 80), one_line("a very long title", 9)
    ('sks [31m dog', 'a very...')
    """
    # What a header can hold is megabytes; what is left after blanks are folded comes from its beginning.
    start = text[: 4 * most]
    line = " ".join("".join(character if _prints(character) else " " for character in start).split())
    return line if len(line) <= most else f"{line[: most - 3].rstrip()}..."


def counted(count: int, noun: str) -> str:
    """``count`` with its noun in the right number.

    >>> counted(1, "image"), counted(3, "image")
    ('1 image', '3 images')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str], most: int = 10) -> str:
    """The first ``most`` of ``names``, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return f"{', '.join(every[:most])}{more}"


def is_line(text: str) -> bool:
    r"""Whether ``text`` is one line that prints as it is, and more than blanks.

    >>> is_line("sks dog"), is_line(" "), is_line("sks\ndog")
    (True, False, False)
    """
    return bool(text.strip()) and all(map(_prints, text))


def control_character(text: str) -> int | None:
    r"""Where the first character stands that could steer a terminal or a parser; None if there is none.

    Control characters, line separators, halves of surrogate pairs and overrides of the writing direction
    count. Joiners and the blanks of other scripts, which captions may well hold, do not.

    >>> control_character("sks\x1b[2J dog"), control_character("ein Hund")
    (3, None)
    """
    for position, character in enumerate(text):
        if character in _BIDIRECTIONAL or unicodedata.category(character) in _CONTROL_CATEGORIES:
            return position
    return None


def _prints(character: str) -> bool:
    return character.isprintable() or character in _JOINERS


def size(count: int) -> str:
    """Bytes for people.

    >>> size(500), size(38_200_000), size(6_939_000_000)
    ('500 bytes', '38.2 MB', '6.9 GB')
    """
    if count < _KILO:
        return counted(count, "byte")
    units = ("kB", "MB", "GB", "TB")
    power = next(
        power for power in range(1, 5) if round(count / _KILO**power, 1) < _KILO or power == len(units)
    )
    return f"{count / _KILO**power:,.1f} {units[power - 1]}"
