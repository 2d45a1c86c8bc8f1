"""How long a concept is taught."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from .knob import Knob

__all__ = ["ScheduleSettings", "StoppingSettings"]


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How long.

    A plan turns epochs into steps: its settings have the number of steps that is trained.
    """

    steps: Annotated[int, Ge(1), Knob("Training steps.", default_text="by the preset", suits_model=True)] = (
        200
    )
    epochs: Annotated[
        int | None,
        Ge(1),
        Knob(
            "Rounds through all pictures with their repeats, in the place of steps.",
            default_text="as many as the steps take",
        ),
    ] = None
    warmup_steps: Annotated[int, Ge(0), Knob("Steps over which the learning rate rises from 0.")] = 10


@dataclass(frozen=True, slots=True)
class StoppingSettings:
    """What ends a training before its last step."""

    until_converged: Annotated[
        bool,
        Knob(
            "End the training as soon as the error on its pictures, with noises that stay the same, changes "
            "no more (arXiv 2302.04841); steps are the most that it takes."
        ),
    ] = False
