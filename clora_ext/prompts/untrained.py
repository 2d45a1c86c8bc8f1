"""Prompts that no picture was trained with: what a model draws by them, it has not learned by heart."""

import re
from collections.abc import Sequence

from clora_ext.data.captions import mentions

__all__ = ["reworded", "untrained_prompt"]

_TEMPLATES = (
    "a photo of {}", "a picture of {}", "{}", "an image of {}", "a painting of {}", "a drawing of {}",
)  # fmt: skip
_OPENING = re.compile(r"(?i)an? (photo|picture|image|painting|drawing|icon) of (?=\S)")


def untrained_prompt(trigger: str, captions: Sequence[str]) -> str:
    """A prompt that draws a concept and is none of its captions.

    Where the captions say token and class, these in a plain frame; else, as of a style that is shown on many
    things, the first caption in other words.

    >>> untrained_prompt("sks dog", ["a photo of sks dog", "sks dog asleep"])
    'a picture of sks dog'
    >>> untrained_prompt("zwz pastel style", ["a pear in zwz style"])
    'a picture of a pear in zwz style'

    Args:
        trigger: token and class.
        captions: that were trained with.
    """
    taken = {_plain(caption) for caption in captions}
    if not captions or any(mentions(caption, trigger) for caption in captions):
        wished = [template.format(trigger) for template in _TEMPLATES]
    else:
        first = captions[0]
        wished = [reworded(first), *(template.format(_bare(first)) for template in _TEMPLATES)]
    return next((prompt for prompt in wished if _plain(prompt) not in taken), f"{wished[0]}, alone")


def reworded(caption: str) -> str:
    """The same in other words: without its opening, or with one.

    >>> reworded("a photo of sks dog in snow"), reworded("sks dog in snow")
    ('sks dog in snow', 'a picture of sks dog in snow')
    """
    bare = _bare(caption)
    return f"a picture of {bare}" if bare == caption else bare


def _bare(caption: str) -> str:
    """Without "a photo of"."""
    return _OPENING.sub("", caption, count=1) if _OPENING.match(caption) else caption


def _plain(text: str) -> str:
    """As a text encoder reads it: case and spaces do not count."""
    return " ".join(text.casefold().split())
