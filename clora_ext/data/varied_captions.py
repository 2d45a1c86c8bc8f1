"""The caption of a step: tags in another order, left out, by choice.

The rules are those of sd-scripts 0.11.1, but for two: tags are joined again by the separator and a blank, as
from 0.12 on, and the mark of ``keep_tokens_separator`` never stays in a caption.
"""

import re
from collections.abc import Sequence
from random import Random

from clora_ext.config.settings import CaptionSettings

__all__ = ["plain_caption", "varied_caption"]

_WILDCARD = re.compile(r"\{([^{}]+)\}")
_OPENING, _CLOSING = "\ue000", "\ue001"  # of the private use area: no caption has them


def varied_caption(rules: CaptionSettings, written: str, rng: Random, epoch: int = 1) -> str:
    """The caption of one step.

    >>> rules = CaptionSettings(shuffle_caption=True, keep_tokens=1)
    >>> varied_caption(rules, "sks dog, red, sitting", Random(1))
    'sks dog, sitting, red'

    Args:
        rules: what is done to it.
        written: the caption with all of its lines.
        rng: the only source of chance.
        epoch: number of the epoch, from 1.
    """
    dropped = rng.random() < rules.caption_dropout
    if dropped or (rules.caption_dropout_every and epoch % rules.caption_dropout_every == 0):
        return ""
    parts = (rules.caption_prefix, _chosen(rules, written, rng), rules.caption_suffix)
    return _joined(rules, " ".join(part for part in parts if part), rng)


def plain_caption(rules: CaptionSettings, written: str) -> str:
    """The caption as people would read it: its first line and first choices, in order, nothing left out."""
    return varied_caption(rules, written, _AlwaysFirst())


def _chosen(rules: CaptionSettings, written: str, rng: Random) -> str:
    """One line, with one choice for every wildcard."""
    lines = written.split("\n")
    if not rules.wildcards:
        return lines[0]
    line = rng.choice(lines) if len(lines) > 1 else lines[0]
    line = line.replace("{{", _OPENING).replace("}}", _CLOSING)
    line = _WILDCARD.sub(lambda found: rng.choice(found[1].split("|")), line)
    return line.replace(_OPENING, "{").replace(_CLOSING, "}")


def _joined(rules: CaptionSettings, text: str, rng: Random) -> str:
    """The tags in their new order; a caption of which nothing is moved or left out stays as written."""
    marked = bool(rules.keep_tokens_separator) and str(rules.keep_tokens_separator) in text
    if rules.shuffle_caption or rules.tag_dropout or marked:
        start, middle, end = _by_mark(rules, text) if marked else _by_number(rules, text)
        if rules.shuffle_caption:
            rng.shuffle(middle)
        if rules.tag_dropout:
            middle = [tag for tag in middle if rng.random() >= rules.tag_dropout]
        text = f"{rules.caption_separator} ".join([*start, *middle, *end])
    if rules.secondary_separator:
        text = text.replace(rules.secondary_separator, rules.caption_separator)
    return text


def _by_mark(rules: CaptionSettings, text: str) -> tuple[list[str], list[str], list[str]]:
    """Tags before the mark, after it, and after a second one; empty ones vanish."""
    parts = [
        [tag.strip() for tag in part.split(rules.caption_separator) if tag.strip()]
        for part in text.split(rules.keep_tokens_separator, 2)
    ]
    start, middle, end = [*parts, [], []][:3]
    return start, middle, end


def _by_number(rules: CaptionSettings, text: str) -> tuple[list[str], list[str], list[str]]:
    """The first tags, and the others."""
    tags = [tag.strip() for tag in text.strip().split(rules.caption_separator)]
    return tags[: rules.keep_tokens], tags[rules.keep_tokens :], []


class _AlwaysFirst(Random):
    """Chance that chooses the first of everything, moves nothing and leaves nothing out."""

    def random(self) -> float:
        return 1.0

    def choice(self, seq: Sequence[str]) -> str:  # type: ignore[override]
        return seq[0]

    def shuffle(self, x: list[str]) -> None:  # type: ignore[override]
        pass
