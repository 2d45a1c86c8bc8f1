"""How often a training is saved: in proportion to what that costs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["SavePace"]

_LEAST_SECONDS = 20.0
_TRAINING_PER_SAVING = 50


@dataclass(slots=True)
class SavePace:
    """When to save next. Training waits while it is saved: at the most a fiftieth of the time goes into it.

    Attributes:
        clock: seconds that only ever grow.
    """

    clock: Callable[[], float] = time.monotonic
    _saved_at: float = field(init=False)
    _cost: float = 0.0

    def __post_init__(self) -> None:
        """Count from now on."""
        self._saved_at = self.clock()

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last save."""
        pause = max(_LEAST_SECONDS, _TRAINING_PER_SAVING * self._cost)
        return self.clock() - self._saved_at > pause

    def saved(self, began: float) -> None:
        """A save has ended that began at ``began``, as the clock says."""
        self._saved_at = self.clock()
        self._cost = self._saved_at - began
