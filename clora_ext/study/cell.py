"""A cell of the grid: the base and what a model has been taught since, in order; its key is its content."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clora_ext import strategies
from clora_ext.config.settings import Settings

from .concept import StudyConcept
from .keys import key_of

__all__ = ["Cell", "Lesson", "first_strategy"]

_FIRST = "naive"


@dataclass(frozen=True, slots=True)
class Lesson:
    """One concept as it is taught.

    Attributes:
        concept: what.
        settings: how; the strategy and its options included.
    """

    concept: StudyConcept
    settings: Settings

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the lesson's result depends on."""
        words = self.concept.words
        return {
            "pictures": self.concept.fingerprint,
            "token": words.token,
            "class_name": words.class_name,
            "settings": self.settings.shaping(),
            **strategies.load(self.settings.strategy).revised,
        }


@dataclass(frozen=True, slots=True)
class Cell:
    """A model of the study.

    Attributes:
        base: sha256 of the model that it began as.
        lessons: what it has been taught; empty: it is the base.
    """

    base: str
    lessons: tuple[Lesson, ...] = ()

    @property
    def key(self) -> str:
        """Of its content: cells that are taught the same share one, whichever strategies ask for it."""
        return key_of("teach", self.base, [one.identity for one in self.lessons])

    @property
    def parent(self) -> "Cell":
        """Before the last lesson."""
        return Cell(self.base, self.lessons[:-1])

    @property
    def words(self) -> str:
        """For people: the last concept, how it is taught and after what."""
        if not self.lessons:
            return "the base"
        *before, last = (one.concept.name for one in self.lessons)
        settings = self.lessons[-1].settings
        after = f" after {', '.join(before)}" if before else " first"
        strategy = (
            settings.strategy
            if before
            else "every strategy alike"
            if _is_shared(settings)
            else settings.strategy
        )
        return f"{last}{after}, by {strategy}, seed {settings.seed}"


def first_strategy(name: str) -> str:
    """The strategy that teaches a run's first concept in the place of ``name``.

    While nothing has been learned there is nothing to hold on to: every strategy that only decides where an
    adapter starts and how it is folded then gives plain LoRA, bit for bit (a test holds each one to it). So
    it is taught once for all of them, by ``naive``: its memory, one adapter, is what no other reads. A
    strategy that takes part in the training, or keeps anything of its own, teaches its first concept itself.
    """
    from clora_ext.strategies.base import Strategy

    kind = type(strategies.load(name))
    taking_part = (
        "memory_shapes", "choose_targets", "needs", "replay", "row_rate", "rephrases", "ema_decay",
        "objective", "keep_prompts",
    )  # fmt: skip
    is_plain = all(getattr(kind, hook) is getattr(Strategy, hook) for hook in taking_part)
    return _FIRST if is_plain else name


def _is_shared(settings: Settings) -> bool:
    return settings.strategy == _FIRST and not settings.strategy_options
