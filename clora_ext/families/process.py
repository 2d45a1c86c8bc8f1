"""How a model was trained, as far as teaching it depends on that."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Process"]


class Process(Protocol):
    """How a model was trained: from which times it sees noised latents, and what it has to predict.

    Latents and noise are (n, channels, h, w); times are (n,), whole or real numbers as :meth:`Model.predict`
    takes them.
    """

    @property
    def predicts(self) -> str:
        """``epsilon``, the noise; ``v``; or ``flow``, the velocity from the picture to the noise."""
        ...

    @property
    def length(self) -> float:
        """Where the times end."""
        ...

    def sample_times(
        self, shape: Sequence[int], rng: "Generator", *, least: int = 0, most: int | None = None
    ) -> "Tensor":
        """Random times for a training step, on the processor.

        Args:
            shape: of the latents, (n, channels, h, w): large pictures may need more noise.
            rng: the only source of randomness.
            least: smallest time, in thousandths of the whole.
            most: below which they lie, likewise; None: all of them.
        """
        ...

    def signal_to_noise(self, times: "Tensor") -> "Tensor":
        """Variance of the latents to that of the noise, (n,), float32."""
        ...

    def noised(self, latents: "Tensor", noise: "Tensor", times: "Tensor") -> "Tensor":
        """Latents with as much noise as belongs to ``times``."""
        ...

    def target(self, latents: "Tensor", noise: "Tensor", times: "Tensor") -> "Tensor":
        """What :meth:`Model.predict` should give for the noised latents, of their shape."""
        ...

    def weight(self, times: "Tensor") -> "Tensor | None":
        """How much each picture's error counts, (n,); None: all alike, the plain mean."""
        ...

    def sampling_times(self, steps: int, shape: Sequence[int], phase: float = 0.0) -> "Tensor":
        """The times, (steps,), at which sampling in so many steps asks the denoiser, noise first.

        Args:
            steps: of the whole.
            shape: of the latents, (..., channels, h, w): large pictures may need more noise.
            phase: from 0 up to 1, how far each time lies on the way to the one before it. So the times of
                many phases are all times at which sampling asks, in whatever number of steps.
        """
        ...

    def advance(
        self, latents: "Tensor", output: "Tensor", done: int, steps: int, phase: float = 0.0
    ) -> "Tensor":
        """The latents after one more step of deterministic sampling.

        Args:
            latents: after ``done`` of the steps; before the first, noise of variance 1.
            output: what :meth:`Model.predict` gave for them, of their shape.
            done: steps taken, from 0.
            steps: of the whole.
            phase: of the times, as :meth:`sampling_times` takes it.
        """
        ...
