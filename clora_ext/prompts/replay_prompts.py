"""Prompts by which a model is asked again for what it knows: past concepts, and what nobody has taught it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .concept_prompts import ConceptPrompts
from .vocabulary import Vocabulary

__all__ = ["ReplayPrompts"]

# Of the prompts of past concepts: by their own captions, varied, rather than by a template.
_BY_CAPTION = 0.5
# Of the anchors: about the new concept's class, so that it is bound to its token and not to the class.
_OF_CLASS = 0.2
# Of the new concept's own captions, where one of its kind has been learned: by that one's token.
_BY_KIN = 0.5


@dataclass(frozen=True, slots=True)
class ReplayPrompts:
    """An endless supply of prompts; none of them calls the new concept.

    Attributes:
        concept: the new one.
        earlier: those that are to be remembered.
        vocabulary: words that the model reads.
        anchors: share of prompts about what nobody has taught; with no earlier concepts all are.
    """

    concept: ConceptPrompts
    earlier: Sequence[ConceptPrompts]
    vocabulary: Vocabulary
    anchors: float

    def draw(self, share: float, rng: Random) -> str:
        """One prompt.

        Args:
            share: what kind of prompt, from 0 up to 1: the new concept's class, other anchors, then each
                earlier concept in turn, each over its part of the line. So where shares are spread evenly,
                no concept is left out for long.
            rng: of the wording.
        """
        anchors = self.anchors if self.earlier else 1.0
        if share < anchors * _OF_CLASS:
            return self._of_class(rng)
        if share < anchors:
            return self._generic(rng)
        place = int((share - anchors) / (1 - anchors) * len(self.earlier))
        return self._of_past(self.earlier[min(place, len(self.earlier) - 1)], rng)

    def reworded(self, caption: str, rng: Random) -> str:
        """A caption of the new concept that calls another: one of its kind, something else, or nothing.

        Where the model has learned a concept of the same kind, half of them call that one: nowhere is it so
        near to becoming the new one as at the new one's own pictures.
        """
        kin = [past for past in self.earlier if past.is_kin_of(self.concept)]
        if kin and rng.random() < _BY_KIN:
            return self.concept.with_token(caption, rng.choice(kin).token)
        if self.concept.is_style:
            return self.concept.without_style(caption)
        return self.concept.with_token(caption, self._other_token(rng))

    def _of_past(self, past: ConceptPrompts, rng: Random) -> str:
        """One that calls a past concept."""
        if past.prompts and (past.is_style or rng.random() < _BY_CAPTION):
            return self._varied(rng.choice(past.prompts), past.words, rng)
        return self._phrased(past.trigger, rng)

    def _of_class(self, rng: Random) -> str:
        """The new concept's class, bare or with a token of something else; of a style, plain things."""
        if self.concept.is_style and self.concept.prompts:
            caption = self.concept.without_style(rng.choice(self.concept.prompts))
            return self._varied(caption, frozenset(), rng)
        token = self._other_token(rng)
        if self.concept.prompts:
            caption = self.concept.with_token(rng.choice(self.concept.prompts), token)
            if rng.random() < _BY_CAPTION:
                return self._varied(caption, self.concept.words, rng)
        return self._phrased(f"{token} {self.concept.class_name}".strip(), rng)

    def _other_token(self, rng: Random) -> str:
        """None, or one that calls nothing yet."""
        used = {self.concept.token, *(past.token for past in self.earlier)}
        others = [token for token in self.vocabulary.rare_tokens if token not in used]
        return rng.choice(["", *rng.sample(others, 1)]) if others else ""

    def _generic(self, rng: Random) -> str:
        """Something everyday."""
        nouns = [noun for noun in self.vocabulary.nouns if noun not in self.concept.words]
        return self._phrased(rng.choice(nouns), rng) if nouns else ""

    def _phrased(self, thing: str, rng: Random) -> str:
        """A thing in one of the templates."""
        words = self.vocabulary
        template = rng.choice(words.templates or ("{thing}",))
        parts = {"colour": words.colours, "place": words.places, "look": words.looks}
        chosen = {name: rng.choice(options) if options else "" for name, options in parts.items()}
        return _tidy(template.format(thing=thing, **chosen))

    def _varied(self, caption: str, fixed: frozenset[str], rng: Random) -> str:
        """A caption with its things and colours changed, but for the concept's own words."""

        def other(found: re.Match[str]) -> str:
            word = found.group()
            for options in (self.vocabulary.nouns, self.vocabulary.colours):
                if word in options and word not in fixed:
                    return rng.choice(options)
            return word

        return re.sub(r"[^\W\d_]+", other, caption)


def _tidy(prompt: str) -> str:
    """Without the gaps of what was left out."""
    return re.sub(r"\s+", " ", prompt).replace(" ,", ",").strip(" ,")
