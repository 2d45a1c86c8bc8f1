"""JSON of which every reader sees the same: no key twice, no NaN, no Infinity."""

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["JsonReader", "read_json"]

_BLANKS = re.compile(r"[ \t\n\r]*")


def read_json(text: str) -> Any:  # noqa: ANN401 - whatever the text says
    """The value that ``text`` spells.

    Raises:
        ValueError: it is no JSON, an object has a key twice, or a number is NaN or infinite by name.
        RecursionError: it is nested too deeply.

    >>> read_json('{"a": [1, true]}')
    {'a': [1, True]}
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


class JsonReader:
    """JSON that is read from its beginning to its end, each part when it is asked for.

    What a hostile text costs is then what it costs up to its first fault, however long it is. Every method
    raises ValueError where the text is not what is asked for.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)

    def members(self, most: int) -> Iterator[str]:
        """Names of the members of an object; the value of each is to be read before the next is asked for.

        No name comes twice, and no more than ``most`` come.
        """
        self._expect("{")
        if self.next_is("}"):
            self._at += 1
            return
        names: set[str] = set()
        following = ","
        while following == ",":
            name = self.string()
            if name in names or len(names) == most:
                message = "a key appears twice" if name in names else f"it has more than {most:,} entries"
                raise ValueError(message)
            names.add(name)
            self._expect(":")
            yield name
            following = self._expect(",}")

    def string(self) -> str:
        """A text, of whatever length."""
        if not self.next_is('"'):
            message = f"expected a text (character {self._at})"
            raise ValueError(message)
        text, self._at = self._decoder.raw_decode(self._text, self._at)
        return str(text)

    def value(self, longest: int) -> Any:  # noqa: ANN401 - whatever the text says
        """A value that is spelled in ``longest`` characters or fewer."""
        self._skip_blanks()
        value, length = self._decoder.raw_decode(self._text[self._at : self._at + longest])
        self._at += length
        return value

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What comes next, after blanks, if it is spelled so; None: it is not, and nothing is read."""
        self._skip_blanks()
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found

    def next_is(self, character: str) -> bool:
        """Whether this comes next, after blanks."""
        self._skip_blanks()
        return self._text.startswith(character, self._at)

    def end(self) -> None:
        """Nothing but blanks may follow."""
        self._skip_blanks()
        if self._at < len(self._text):
            message = f"there is more after its end (character {self._at})"
            raise ValueError(message)

    def _expect(self, characters: str) -> str:
        """The next character, which is one of these."""
        self._skip_blanks()
        found = self._text[self._at : self._at + 1]
        if not found or found not in characters:
            message = f"expected {' or '.join(characters)} (character {self._at})"
            raise ValueError(message)
        self._at += 1
        return found

    def _skip_blanks(self) -> None:
        if not self._text[self._at : self._at + 1].isspace():  # programs write none: a match takes longer
            return
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with no key twice: of two readers each could take another of the values."""
    result = dict(pairs)
    if len(result) != len(pairs):
        message = "a key appears twice"
        raise ValueError(message)
    return result


def _refuse(constant: str) -> None:
    """JSON knows no NaN and no Infinity, though Python would read them."""
    message = f"{constant} is not valid JSON"
    raise ValueError(message)
