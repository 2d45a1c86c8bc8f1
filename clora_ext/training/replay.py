"""Sampling trajectories of the model before a training, advanced while it trains.

The points on them are what the model is really asked when it samples, at every noise level. Every
trajectory follows from (seed, its number) alone, so a resumed training takes the points that it would have
taken: those that are under way are computed once more.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil
from random import Random

import torch
from torch import Tensor

from clora_ext.config.precision import to_device
from clora_ext.config.processes import ALONE, Place
from clora_ext.families.model import Conditioning, Model
from clora_ext.prompts.spread import spread
from clora_ext.strategies.base import Replay
from clora_ext.strategies.objective import ReplayBatch

__all__ = ["TrajectoryReplay", "cost_beside", "points_per_step", "replay_cost", "replay_prompts"]

# One in so many points is asked without its prompt too: guidance needs that answer as well.
_UNPROMPTED = 4


# A pass with its gradients takes about three times one without.
_WITH_GRADIENTS = 3


def points_per_step(replay: Replay) -> int:
    """How many points a step has at the most, those without prompts and its own pictures included."""
    return _number(replay) + -(-_number(replay) // _UNPROMPTED) + ceil(replay.own or 0)


def replay_cost(replay: Replay, batch_size: int) -> float:
    """What replay adds to a step, in plain steps, by what the denoiser is asked.

    The model before is asked at every point with and without its prompt, and once of each own picture; the
    network that learns answers all of them, and one in four points without its prompt.
    """
    own = replay.own or 0
    learning, asked = _number(replay) * (1 + 1 / _UNPROMPTED) + own, 2 * _number(replay) + own
    return cost_beside(learning, asked, batch_size)


def cost_beside(learning: float, asked: float, batch_size: int) -> float:
    """What is asked beside a step of so many pictures, in such steps.

    Args:
        learning: points that the network that learns answers.
        asked: points that the model before answers.
        batch_size: pictures in a plain step.
    """
    return (_WITH_GRADIENTS * learning + asked) / (_WITH_GRADIENTS * batch_size)


def _number(replay: Replay) -> int:
    """Of trajectories, which a run has decided by now."""
    if replay.trajectories is None:
        message = "nobody has said beside how many pictures the points are asked"
        raise ValueError(message)
    return replay.trajectories


def replay_prompts(replay: Replay, seed: int, steps: int) -> list[str]:
    """Every prompt that a training of so many steps asks, and the empty one."""
    numbers = range(-(-steps // replay.steps) + 1)
    drawn = (_prompt(replay, seed, place, number) for place in range(_number(replay)) for number in numbers)
    return list(dict.fromkeys(["", *drawn]))


@dataclass
class TrajectoryReplay:
    """The points of every step; to be called with the step's number (from 0).

    Attributes:
        model: with the adapter inside.
        replay: what is asked.
        encoded: what the model before the training was told by each of :func:`replay_prompts`.
        condition: what the model is told by prompts now.
        shape: of one picture's latents, (channels, h, w).
        seed: of the training.
        without_adapter: while it is entered, the model is the one before the training.
        device: where the model lies.
        place: of this process, which has its part of the trajectories.
    """

    model: Model
    replay: Replay
    encoded: Mapping[str, Conditioning]
    condition: Callable[[Sequence[str]], Conditioning]
    shape: tuple[int, ...]
    seed: int
    without_adapter: Callable[[], AbstractContextManager[None]]
    device: torch.device
    place: Place = ALONE

    def __post_init__(self) -> None:
        self._own = self.place.part(_number(self.replay))
        self._is_filling = self.place.in_step and not self._own
        count = 1 if self._is_filling else len(self._own)
        self._latents = torch.zeros(count, *self.shape, device=self.device)
        self._next: int | None = None

    def __call__(self, step: int) -> ReplayBatch:
        """The points of a step, and what the model before answers there; of this process's trajectories."""
        if self._is_filling:
            return self._filled(step)
        if not self._own:
            return _nothing(self.shape, self._share(step), self.device)
        if self._next != step:
            # Each of the trajectories that are under way has begun within the last `steps` steps.
            self._latents.zero_()
            for before in range(step - self.replay.steps, step):
                times, prompts = self._begin(before)
                self._advance(before, *self._ask(times, prompts))
        times, prompts = self._begin(step)
        points = self._latents.clone()
        prompted, unprompted = self._ask(times, prompts)
        self._advance(step, prompted, unprompted)
        self._next = step + 1
        also = [place for place, number in enumerate(self._own) if _is_unprompted(number, step)]
        return ReplayBatch(
            latents=torch.cat([points, points[also]]),
            times=torch.cat([times, times[also]]),
            condition=self.condition([*prompts, *[""] * len(also)]),
            answers=torch.cat([prompted, unprompted[also]]),
            share=self._share(step),
        )

    def _filled(self, step: int) -> ReplayBatch:
        """As many passes as the others make, at a point that counts nothing."""
        times = to_device(self._times(0, 0)[:1], self.device)
        for _ in range(0 if self._next == step else self.replay.steps):
            self._ask(times, [""])
        answers, _ = self._ask(times, [""])
        self._next = step + 1
        return ReplayBatch(
            self._latents.clone(), times, self.condition([""]), answers, self._share(step), is_filler=True
        )

    def _share(self, step: int) -> float | None:
        """How many points a process has in the mean; None: there is one process."""
        if self.place.is_alone:
            return None
        each = range(_number(self.replay))
        return (len(each) + sum(_is_unprompted(number, step) for number in each)) / self.place.size

    def _places(self, step: int) -> list[tuple[int, int, int]]:
        """Place of each trajectory that is under way at a step, its number, and how far it has come."""
        steps, each = self.replay.steps, _number(self.replay)
        return [(place, *divmod(step + place * steps // each, steps)) for place in self._own]

    def _begin(self, step: int) -> tuple[Tensor, list[str]]:
        """Draw the noise of trajectories that begin; gives the times and prompts of all."""
        places = self._places(step)
        prompts = []
        for own, (place, number, done) in enumerate(places):
            prompts.append(_prompt(self.replay, self.seed, place, number) if number >= 0 else "")
            if done == 0 and number >= 0:
                rng = torch.Generator().manual_seed(Random(_name(self.seed, place, number)).getrandbits(63))
                self._latents[own] = to_device(torch.randn(self.shape, generator=rng), self.device)
        times = [self._times(place, number)[done] for place, number, done in places]
        return to_device(torch.stack(times), self.device), prompts

    def _times(self, place: int, number: int) -> Tensor:
        """The times of a trajectory's points, (steps,)."""
        return self.model.process.sampling_times(self.replay.steps, self.shape, self._phase(place, number))

    def _phase(self, place: int, number: int) -> float:
        """A trajectory's own, so that the points of all lie at every time at which anybody samples."""
        return Random(f"phase {_name(self.seed, place, number)}").random()

    @torch.no_grad()
    def _ask(self, times: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """What the model before answers with and without the prompts."""
        asked = self.model.collate([self.encoded[prompt] for prompt in [*prompts, *[""] * len(prompts)]])
        condition = {name: to_device(value, self.device) for name, value in asked.items()}
        with self.without_adapter():
            both = self.model.predict(self._latents.repeat(2, 1, 1, 1), times.repeat(2), condition).float()
        prompted, unprompted = both.chunk(2)
        return prompted, unprompted

    def _advance(self, step: int, prompted: Tensor, unprompted: Tensor) -> None:
        """Take all trajectories to the next step."""
        guided = unprompted + self.replay.guidance * (prompted - unprompted)
        for own, (place, number, done) in enumerate(self._places(step)):
            self._latents[own] = self.model.process.advance(
                self._latents[own], guided[own], done, self.replay.steps, self._phase(place, number)
            )


def _is_unprompted(place: int, step: int) -> bool:
    """Whether a trajectory's point is asked without its prompt too."""
    return (place + step) % _UNPROMPTED == 0


def _nothing(shape: tuple[int, ...], share: float | None, device: torch.device) -> ReplayBatch:
    """No points, of a process where others have some."""
    empty = torch.empty(0, *shape, device=device)
    return ReplayBatch(empty, torch.empty(0, device=device), {}, empty, share)


def _name(seed: int, place: int, number: int) -> str:
    """What a trajectory's chance follows from."""
    return f"{seed}/{place}/{number}"


def _prompt(replay: Replay, seed: int, place: int, number: int) -> str:
    """The prompt of a trajectory."""
    begun = number * _number(replay) + place  # before it, over all places
    share = spread(begun, Random(f"shares {seed}").random())
    return replay.draw(share, Random(f"prompt {_name(seed, place, number)}"))
