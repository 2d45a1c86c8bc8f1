"""The everyday words that a model's text encoder reads as words."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from clora_ext.data.concept import RARE_TOKENS

from .templates import BACKGROUNDS, OPENINGS, TEMPLATES
from .words import COLOURS, LOOKS, NOUNS, PLACES

__all__ = ["Vocabulary", "reads_as_one", "vocabulary_of"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words and phrasings, each of which the model can read.

    Attributes:
        nouns: things, people, animals.
        colours: of backgrounds and things.
        places: phrases such as "in the snow".
        looks: adjectives.
        rare_tokens: words without a meaning, such as concepts are called by.
        templates: phrasings; see :mod:`clora_ext.prompts.templates`.
        openings: beginnings of captions that mean the same; likewise.
        backgrounds: ends of captions that mean the same, with a ``{colour}``; likewise.
    """

    nouns: tuple[str, ...]
    colours: tuple[str, ...]
    places: tuple[str, ...]
    looks: tuple[str, ...]
    rare_tokens: tuple[str, ...]
    templates: tuple[str, ...]
    openings: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()


def vocabulary_of(is_word: Callable[[str], bool]) -> Vocabulary:
    """What is left of clora's own lists.

    Args:
        is_word: whether the model's tokenizer holds a word as one token. What it would have to spell, the
            model was hardly taught.
    """

    def readable(phrases: Iterable[str]) -> tuple[str, ...]:
        return tuple(one for one in phrases if all(is_word(word) for word in one.split()))

    def plain(template: str) -> str:
        return " ".join(word.strip(",") for word in template.split() if not word.startswith("{"))

    def phrasings(templates: Iterable[str]) -> tuple[str, ...]:
        return tuple(one for one in templates if readable([plain(one)]))

    return Vocabulary(
        nouns=readable(NOUNS),
        colours=readable(COLOURS),
        places=readable(PLACES),
        looks=readable(LOOKS),
        rare_tokens=readable(RARE_TOKENS),
        templates=phrasings(TEMPLATES),
        openings=phrasings(OPENINGS),
        backgrounds=phrasings(BACKGROUNDS),
    )


def reads_as_one(tokens: Callable[[str], Sequence[object]]) -> Callable[[str], bool]:
    """Whether a tokenizer holds a word as one token; of what ``tokens`` says of a text."""
    return lambda word: len(tokens(word)) == 1
