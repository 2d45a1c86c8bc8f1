"""Texts that are longer than the text encoder reads: never shortened in silence."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clora_ext.config.settings import PromptSettings

from .context import ProjectContext

__all__ = ["CutText", "cut_texts"]


@dataclass(frozen=True, slots=True)
class CutText:
    """A text whose end is not read.

    Attributes:
        what: it is, for people.
        tokens: that are not read.
    """

    what: str
    tokens: int

    def __str__(self) -> str:
        """For people."""
        some = "token is" if self.tokens == 1 else f"{self.tokens} tokens are"
        return f"{self.what} is too long: its last {some} not read"


def cut_texts(
    context: ProjectContext, prompts: PromptSettings, texts: Iterable[tuple[str, str]]
) -> tuple[CutText, ...]:
    """Those of ``texts``, each with what it is, that are too long when they are read so."""
    return tuple(_cut(context, prompts, texts))


def _cut(
    context: ProjectContext, prompts: PromptSettings, texts: Iterable[tuple[str, str]]
) -> Iterator[CutText]:
    counted: dict[str, int] = {}  # pictures often share a caption
    for what, text in texts:
        if text not in counted:
            counted[text] = context.family.tokens_cut(context.header, text, prompts)
        if counted[text]:
            yield CutText(what, counted[text])
