"""What a strategy may ask of a run: measurements, and answers of the model as it was before."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

__all__ = ["Needs", "Replay"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a strategy asks of a run. Of the past nothing is read for it but what the strategy has kept.

    Attributes:
        inputs_before: prompts over which the layers' inputs are measured before the training, for ``begin``.
        inputs_after: the same after the training, or with a finished adapter at work, for ``fold``.
        inputs_first: the same before the training, of inputs of which nothing is kept yet.
        gradients_after: draws of the new concept's pictures, with noise, over which squared gradients are
            measured after the training, for ``fold``; 0: none.
    """

    inputs_before: tuple[str, ...] = ()
    inputs_after: tuple[str, ...] = ()
    inputs_first: tuple[str, ...] = ()
    gradients_after: int = 0


_ASKED_AGAIN = 3 / 8
"""Of as many as a step has pictures: trajectories, and own pictures, unless somebody says how many."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What the model before the training is asked again in every training step.

    Several sampling trajectories are under way at once, each advanced by one step per training step. An ended
    one is followed by the next, by another prompt and from another noise. Of the step's own noised pictures
    some may be asked again by other words.

    Attributes:
        draw: one prompt. The number, from 0 up to 1, says of which kind, so that evenly spread ones miss
            none; the generator is the source of all other chance.
        trajectories: how many are under way; None: three for every eight pictures in a step, at least one.
        steps: that a trajectory takes from noise to picture.
        guidance: classifier-free guidance of the trajectories.
        own: how many of the step's own pictures are asked again; of less than one, one in so many steps.
            None: three in eight.
        reworded: a picture's caption in the words that it is asked again by, likewise.
    """

    draw: Callable[[float, Random], str]
    trajectories: int | None = None
    steps: int = 5
    guidance: float = 4.0
    own: float | None = 0.0
    reworded: Callable[[str, Random], str] = lambda caption, _: caption

    def beside(self, batch_size: int) -> "Replay":
        """The same beside so many pictures in a step.

        >>> replay = Replay(lambda share, rng: "a dog", own=None)
        >>> replay.beside(8).trajectories, replay.beside(8).own, replay.beside(1).own
        (3, 3.0, 0.375)
        """
        share = _ASKED_AGAIN * batch_size
        own = share if self.own is None else self.own
        return replace(self, trajectories=self.trajectories or max(1, int(share)), own=own)
