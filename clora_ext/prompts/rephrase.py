"""A caption in other words that show the same."""

import re
from random import Random

from .vocabulary import Vocabulary

__all__ = ["rephrased"]

# "a drawing of", "a close up of": what they say of a picture is not to be lost.
_SAYS_MORE = re.compile(r"(an?|the) ([^\W\d_]+ ){1,3}of ", re.IGNORECASE)
# Of tags and of sentences every part may be about the whole picture.
_MANY_PARTS = re.compile(r"[,;.!?]")


def rephrased(caption: str, words: Vocabulary, rng: Random) -> str:
    """With another opening, and with what is said of a plain background said otherwise, where it has these.

    Captions of tags or of several sentences stay as they are, and so do openings that say more than that
    there is a picture. A photo is never said where the caption says none.

    >>> words = Vocabulary((), ("red",), (), (), (), (), ("a photo of", "a picture of"), ("on {colour}",))
    >>> rephrased("a photo of sks dog on red", words, Random(1))
    'a picture of sks dog on red'
    >>> rephrased("1girl, sks, red hair", words, Random(2))
    '1girl, sks, red hair'

    Args:
        caption: of one picture.
        words: openings and backgrounds that the model reads.
        rng: the only source of chance.
    """
    if not caption.strip() or _MANY_PARTS.search(caption):
        return caption
    opening, rest = _opening(caption, words)
    thing, background = _background(rest, words, rng)
    return " ".join(part for part in (_another(opening, thing, words, rng), thing, background) if part)


def _opening(caption: str, words: Vocabulary) -> tuple[str, str]:
    """The opening, and the rest."""
    for opening in words.openings:
        if caption.casefold().startswith(f"{opening} "):
            return opening, caption[len(opening) + 1 :]
    return "", caption


def _another(opening: str, thing: str, words: Vocabulary, rng: Random) -> str:
    """An opening that says no more than the one that stands there."""
    if not opening and _SAYS_MORE.match(thing):
        return ""
    options = [one for one in words.openings if opening or "photo" not in one]
    return rng.choice(["", *options])


def _background(rest: str, words: Vocabulary, rng: Random) -> tuple[str, str]:
    """What is shown, and another phrasing of what is behind it; empty: nothing plain is."""
    for background in words.backgrounds:
        before, after = background.split("{colour}")
        ending = rf"(?P<thing>.+) {re.escape(before)}(?P<colour>{_any(words.colours)}){re.escape(after)}"
        found = re.fullmatch(ending, rest, re.IGNORECASE)
        if found:
            return found["thing"], rng.choice(words.backgrounds).format(colour=found["colour"])
    return rest, ""


def _any(options: tuple[str, ...]) -> str:
    """A pattern for one of them."""
    return "|".join(map(re.escape, options)) or r"(?!)"
