"""A concept in words."""

import re
from dataclasses import dataclass

__all__ = ["ConceptPrompts"]

_STYLE = re.compile(r"\b(style|art|painting|drawing|look)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ConceptPrompts:
    """A concept in words, as a strategy of level L1 may keep it.

    Attributes:
        token: its trigger.
        class_name: what kind of thing it is.
        prompts: that show it.
    """

    token: str
    class_name: str
    prompts: tuple[str, ...]

    @property
    def trigger(self) -> str:
        """The words that call it."""
        return f"{self.token} {self.class_name}"

    @property
    def words(self) -> frozenset[str]:
        """Its token and the words of its class."""
        return frozenset([self.token, *self.class_name.split()])

    @property
    def is_style(self) -> bool:
        """Whether it is a way to show things rather than a thing: it is then asked for with many things."""
        return bool(_STYLE.search(self.class_name))

    def is_kin_of(self, other: "ConceptPrompts") -> bool:
        """Whether both are styles, or things of one kind: of two such the one easily becomes the other.

        >>> ConceptPrompts("sks", "police car", ()).is_kin_of(ConceptPrompts("uwu", "Car", ()))
        True
        """
        if self.is_style or other.is_style:
            return self.is_style and other.is_style
        return self.class_name.casefold().split()[-1:] == other.class_name.casefold().split()[-1:]

    def with_token(self, prompt: str, token: str) -> str:
        """A prompt with another word in the place of the token; none: without its token.

        >>> ConceptPrompts("sks", "dog", ()).with_token("a photo of sks dog, sksy", "")
        'a photo of dog, sksy'
        """
        changed = re.sub(rf"(?<!\w){re.escape(self.token)}(?!\w)", lambda found: token, prompt)
        return re.sub(r"\s+", " ", changed).strip()

    def bare(self, prompt: str) -> str:
        """A prompt without what calls the concept: a thing without its token, or what a style was shown on.

        >>> ConceptPrompts("sks", "dog", ()).bare("a photo of sks dog")
        'a photo of dog'
        """
        return self.without_style(prompt) if self.is_style else self.with_token(prompt, "")

    def without_style(self, prompt: str) -> str:
        """A prompt without the words that call for the style; what is left is the thing as it is.

        >>> style = ConceptPrompts("zwz", "pastel style", ())
        >>> style.without_style("a fox in zwz style on a red background")
        'a fox on a red background'
        >>> style.without_style("zwz style fox, green background")
        'fox, green background'
        """
        token = re.escape(self.token)
        kind = "".join(rf"(?: {re.escape(word)})?" for word in self.class_name.split())
        called = rf"(?:\bin (?:the )?(?:style of )?)?(?<!\w){token}{kind}(?!\w)"
        return re.sub(r"\s+", " ", re.sub(called, "", prompt)).strip()
