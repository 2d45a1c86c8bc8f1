"""Find and read the caption of a picture."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clora_ext.data.concept import Concept
from clora_ext.data.regular import Unusable, open_regular, unreadable
from clora_ext.data.subset import Subset
from clora_ext.formats.text import control_character, escaped

__all__ = ["BadCaption", "Caption", "find_caption"]

DEFAULT = "a photo of {token} {class}"
DEFAULT_OTHERS = "a photo of {class}"
LONGEST_BYTES = 1 << 16
PLACEHOLDER = re.compile(r"\{(token|class)\}")


@dataclass(frozen=True, slots=True)
class Caption:
    """What a picture shows, in words.

    Attributes:
        text: one line, never empty.
        source: the file's name, ``folder name`` or ``default``.
        notes: what the user should know about it.
    """

    text: str
    source: str
    notes: tuple[str, ...] = ()


class BadCaption(Unusable):
    """A caption file cannot be used.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path, reason: str, fix: str) -> None:
        super().__init__(reason, fix)
        self.path = path


def find_caption(files: Sequence[Path], words: str | None, concept: Concept, subset: Subset) -> Caption:
    """The caption of one picture.

    Args:
        files: the caption files beside it; several are accepted only if they agree.
        words: the words in the name of its kohya folder, if it lies in one; they serve as a caption if
            they contain the token, or if the picture is for regularisation.
        concept: what is to be learned; fills ``{token}`` and ``{class}`` in a caption.
        subset: that the picture is of.

    Raises:
        BadCaption: a file is unreadable, is not UTF-8, is empty, contains control characters, or
            contradicts another.
    """
    if not files:
        return _without_file(words, concept, subset)
    every_line = subset.captions.wildcards
    read = [read_captions(file) if every_line else read_caption(file) for file in files]
    if any(line != read[0][0] for line, _ in read):
        names = " and ".join(escaped(file.name) for file in files)
        raise BadCaption(files[0], f"is one of several captions that differ: {names}", "keep one of them")
    line, notes = read[0]
    text = fill(line, concept)
    return Caption(text, escaped(files[0].name), (*notes, *_on_the_token(text, concept, subset)))


def _without_file(words: str | None, concept: Concept, subset: Subset) -> Caption:
    """The caption of a picture that has no file."""
    if subset.default_caption is not None:
        text = fill(subset.default_caption, concept)
        return Caption(text, "default", _on_the_token(text, concept, subset))
    text = f"a photo of {fill(words, concept)}" if words else ""
    says_what = subset.regularisation or mentions(text, concept.token)
    if text and says_what and control_character(text) is None:
        return Caption(text, "folder name", _on_the_token(text, concept, subset))
    return Caption(fill(DEFAULT_OTHERS if subset.regularisation else DEFAULT, concept), "default")


def _on_the_token(text: str, concept: Concept, subset: Subset) -> tuple[str, ...]:
    """A note on a caption that names the concept and should not, or the other way round."""
    named = mentions(text, concept.token)
    if named == subset.regularisation:
        has = "has" if named else "lacks"
        return (f"caption {has} the token {concept.token!r}",)
    return ()


def fill(text: str, concept: Concept) -> str:
    """``text`` with ``{token}`` and ``{class}`` replaced; other braces stay as they are.

    >>> fill("{token} {class} in {snow}", Concept("sks", "dog"))
    'sks dog in {snow}'
    """
    values = {"token": concept.token, "class": concept.class_name}
    return PLACEHOLDER.sub(lambda match: values[match[1]], text)


def mentions(text: str, token: str) -> bool:
    """Whether ``token`` stands in ``text`` as a word of its own, in upper or lower case."""
    return re.search(rf"(?<!\w){re.escape(token)}(?!\w)", text, re.IGNORECASE) is not None


def read_caption(path: Path) -> tuple[str, tuple[str, ...]]:
    """The first line of a caption file, all that kohya's scripts read, and notes on what is left out."""
    first, *more = re.split(r"\r\n|\r|\n", decode_text(path))
    first = first.replace("\t", " ").strip()
    if not first:
        what = "has an empty first line" if any(line.strip() for line in more) else "is empty"
        raise BadCaption(path, what, "write the caption on its first line, or remove the file")
    refuse_control_characters(path, first)
    notes = ("caption: only the first line is used",) if any(line.strip() for line in more) else ()
    return first, notes


def read_captions(path: Path) -> tuple[str, tuple[str, ...]]:
    """All lines of a caption file that are not empty, as one text."""
    lines = [line.replace("\t", " ").strip() for line in re.split(r"\r\n|\r|\n", decode_text(path))]
    lines = [line for line in lines if line]
    if not lines:
        raise BadCaption(path, "is empty", "write a caption into it, or remove the file")
    for line in lines:
        refuse_control_characters(path, line)
    return "\n".join(lines), ()


def refuse_control_characters(path: Path, line: str) -> None:
    """Raise :class:`BadCaption` for a line of a caption file that does not print."""
    position = control_character(line)
    if position is not None:
        code = f"U+{ord(line[position]):04X}"
        reason = f"holds a control character ({code}, character {position + 1})"
        raise BadCaption(path, reason, "save it again as plain text in UTF-8")


def decode_text(path: Path) -> str:
    """The text of a caption file, without a byte order mark.

    Raises:
        BadCaption: it cannot be read, is too long, or is not UTF-8; then with the first wrong byte.
    """
    try:
        with open_regular(path) as file:
            data = file.read(LONGEST_BYTES + 1)
    except Unusable as error:
        raise BadCaption(path, error.reason, error.fix) from error
    except OSError as error:
        raise BadCaption(path, unreadable(error).reason, unreadable(error).fix) from error
    if len(data) > LONGEST_BYTES:
        raise BadCaption(
            path, f"is too long for a caption: more than {LONGEST_BYTES:,} bytes", "shorten or remove it"
        )
    start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    try:
        return data[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        offset = start + error.start
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        looks = ", but looks like UTF-16" if wide else ""
        reason = f"is not UTF-8{looks}: byte {offset} is 0x{data[offset]:02x}"
        raise BadCaption(path, reason, "save it in your editor with the encoding UTF-8") from error
