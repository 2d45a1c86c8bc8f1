"""Which pictures each training step sees: a schedule that does not depend on earlier steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil, gcd
from random import Random

from clora_ext.errors import UsageError

__all__ = ["Batches", "Bucketed", "batches", "steps_per_epoch"]


@dataclass(frozen=True, slots=True)
class Bucketed:
    """What the schedule needs to know about one picture.

    Attributes:
        width: of its bucket, pixels.
        height: of its bucket, pixels.
        repeats: how often it is shown, relative to the others.
    """

    width: int
    height: int
    repeats: int = 1


class Batches:
    """An endless series of full batches; the pictures of a batch have one size.

    It runs in rounds. In each round every picture is shown ``batch_size`` times its repeats (the
    repeats first divided by their greatest common divisor), so each bucket fills its batches exactly: no
    batch is short, and no picture is shown more often for being alone in its bucket.

    Attributes:
        batch_size: pictures in every batch.
        seed: of the order.
        steps_per_round: steps after which every picture was shown exactly in proportion to its repeats.
    """

    def __init__(self, pictures: Sequence[Bucketed], batch_size: int, seed: int) -> None:
        if not pictures:
            raise UsageError("there are no pictures to make batches of", fix="name a folder of images")
        if batch_size < 1:
            raise UsageError(f"batch size {batch_size} is not positive", fix="choose 1 or more")
        shared = reduce(gcd, (picture.repeats for picture in pictures))
        if shared < 1 or any(picture.repeats < 1 for picture in pictures):
            raise UsageError("a picture's repeats are not positive", fix="choose 1 or more")
        self.batch_size = batch_size
        self.seed = seed
        self._passes: dict[tuple[int, int], list[int]] = {}
        for index, picture in enumerate(pictures):
            size = (picture.width, picture.height)
            self._passes.setdefault(size, []).extend([index] * (picture.repeats // shared))
        self.steps_per_round = sum(len(indices) for indices in self._passes.values())
        self._round = -1
        self._order: list[tuple[int, ...]] = []

    def batch_at(self, step: int) -> tuple[int, ...]:
        """Indices of the pictures that step ``step`` (0, 1, ...) sees, all of one bucket.

        They depend on nothing but the schedule's arguments and ``step``, so a run that is resumed there
        continues as if it had never stopped.

        Raises:
            IndexError: ``step`` is negative.
        """
        if step < 0:
            raise IndexError(step)
        number, place = divmod(step, self.steps_per_round)
        if number != self._round:
            self._order = self._shuffled(number)
            self._round = number
        return self._order[place]

    def _shuffled(self, number: int) -> list[tuple[int, ...]]:
        """All batches of round ``number``, in the order of their steps."""
        random = Random(f"{self.seed}/{number}")  # an order, no secret
        order: list[tuple[int, ...]] = []
        for size in sorted(self._passes):
            stream: list[int] = []
            for _ in range(self.batch_size):
                once = list(self._passes[size])
                random.shuffle(once)
                stream += once
            order += [
                tuple(stream[start : start + self.batch_size])
                for start in range(0, len(stream), self.batch_size)
            ]
        random.shuffle(order)
        return order


def steps_per_epoch(pictures: Sequence[Bucketed], batch_size: int) -> int:
    """Steps of one epoch as trainers count it: each bucket's pictures with their repeats, in whole batches.

    >>> steps_per_epoch([Bucketed(64, 64, 3), Bucketed(80, 48, 1)], batch_size=2)
    3
    """
    totals: dict[tuple[int, int], int] = {}
    for picture in pictures:
        size = (picture.width, picture.height)
        totals[size] = totals.get(size, 0) + picture.repeats
    return sum(ceil(total / batch_size) for total in totals.values())


def batches(pictures: Sequence[Bucketed], batch_size: int, seed: int) -> Batches:
    """The schedule for ``pictures``.

    Args:
        pictures: bucket and repeats of each; its position in this sequence is its index.
        batch_size: pictures per step; if it exceeds their number, pictures recur within a batch.
        seed: of the order.

    Raises:
        UsageError: no pictures, or a batch size or repeats below 1.

    >>> schedule = batches([Bucketed(64, 64), Bucketed(64, 64), Bucketed(80, 48)], batch_size=2, seed=0)
    >>> sorted(sorted(schedule.batch_at(step)) for step in range(schedule.steps_per_round))
    [[0, 1], [0, 1], [2, 2]]
    """
    return Batches(pictures, batch_size, seed)
