"""Flow matching (arXiv 2210.02747): straight lines from pictures to noise, and the velocity along them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .shifts import Shift

__all__ = ["FlowProcess", "shifted"]

_LEAST = 1e-6  # the smallest chance that is drawn: the time is never the very end of the line


@dataclass(frozen=True)
class FlowProcess:
    """Times are shares of noise in [0, 1]; see :class:`clora_ext.families.process.Process`.

    Attributes:
        sampling: how far the times at which sampling asks are moved towards noise.
        training: the same of the times that training draws.
        patch: side of the square of latents that the transformer sees as one token.
    """

    sampling: Shift
    training: Shift
    patch: int = 1

    @property
    def predicts(self) -> str:
        """The velocity, noise minus picture."""
        return "flow"

    @property
    def length(self) -> float:
        """At 1 there is nothing but noise."""
        return 1.0

    def sample_times(
        self, shape: Sequence[int], rng: Generator, *, least: int = 0, most: int | None = None
    ) -> Tensor:
        """Logit-normal times, shifted, (n,), float32; between bounds, that part of the distribution."""
        shift = self.training.factor(self._tokens(shape), 1)
        ends = [_chance(end / 1000, shift) for end in (least, 1000 if most is None else most)]
        drawn = torch.rand(shape[0], generator=rng, dtype=torch.float64)
        chance = (ends[0] + (ends[1] - ends[0]) * drawn).clamp(_LEAST, 1 - _LEAST)
        times = torch.sigmoid(torch.special.ndtri(chance))
        return shifted(times, shift).float()

    def signal_to_noise(self, times: Tensor) -> Tensor:
        """Of variances; infinite without noise."""
        noise = times.float()
        return ((1 - noise) / noise) ** 2

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The point of the line at the times."""
        share = _by_picture(times, latents)
        return (1 - share) * latents + share * noise

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Where the line goes, the same everywhere on it."""
        return noise - latents

    def weight(self, times: Tensor) -> None:
        """All pictures count alike."""

    def sampling_times(self, steps: int, shape: Sequence[int], phase: float = 0.0) -> Tensor:
        """Evenly spaced before the shift but for the first, (steps,), float32, from 1; sampling ends at 0."""
        return self._ends(steps, shape, phase)[:-1]

    def advance(self, latents: Tensor, output: Tensor, done: int, steps: int, phase: float = 0.0) -> Tensor:
        """One step of Euler's method."""
        times = self._ends(steps, latents.shape, phase).tolist()
        length: float = times[done + 1] - times[done]
        return latents + length * output

    def _ends(self, steps: int, shape: Sequence[int], phase: float) -> Tensor:
        """The ends of the steps, (steps + 1,); at 1, whatever the phase, there is nothing but noise."""
        shift = self.sampling.factor(self._tokens(shape), steps)
        even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        even[1:-1] += phase / steps
        return shifted(even, shift).float()

    def _tokens(self, shape: Sequence[int]) -> int:
        """Of a picture with latents of this shape, (..., h, w)."""
        return int(shape[-2] * shape[-1]) // self.patch**2


def _chance(time: float, shift: float) -> float:
    """How likely a time is drawn below this one."""
    plain = shifted(torch.tensor(time, dtype=torch.float64), 1 / shift)
    return float(torch.special.ndtr(torch.logit(plain)))


def shifted(times: Tensor, shift: float) -> Tensor:
    """Times moved towards noise (above 1) or away from it; 0 and 1 stay.

    >>> shifted(torch.tensor([0.0, 0.5, 1.0]), 3.0)
    tensor([0.0000, 0.7500, 1.0000])
    """
    return shift * times / (1 + (shift - 1) * times)


def _by_picture(values: Tensor, like: Tensor) -> Tensor:
    """One value a picture, (n,), where it can be multiplied with (n, ...)."""
    return values.to(like.dtype).reshape(-1, *(1 for _ in like.shape[1:]))
