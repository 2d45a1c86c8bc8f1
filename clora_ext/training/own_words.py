"""The words that a step's own pictures are asked again by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

__all__ = ["OwnWords"]


@dataclass(frozen=True, slots=True)
class OwnWords:
    """A function of (seed, step) and of the captions that the step shows.

    Attributes:
        count: how many pictures of a step are asked again; of less than one, one in so many steps.
        reworded: a caption in the words that its picture is asked again by; the generator is its only source
            of chance.
        seed: of the training.
    """

    count: float
    reworded: Callable[[str, Random], str]
    seed: int

    def at(self, captions: Sequence[str], step: int) -> list[tuple[int, str]]:
        """Place in the batch, and words, of each picture that is asked again; in turn over the steps.

        Args:
            captions: of the whole batch, as it is shown.
            step: from 0.

        >>> words = OwnWords(0.5, lambda caption, rng: caption.removeprefix("sks "), seed=0)
        >>> [words.at(["sks dog", "sks cat"], step) for step in range(4)]
        [[], [(0, 'dog')], [], [(1, 'cat')]]
        """
        each = min(self.count, len(captions))
        numbers = range(int(step * each), int((step + 1) * each))
        chosen = [number % len(captions) for number in numbers]
        rng = Random(f"own {self.seed}/{step}")  # a choice of words, no secret
        return [(number, self.reworded(captions[number], rng)) for number in chosen]
