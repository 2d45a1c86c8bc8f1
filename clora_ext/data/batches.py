"""Which pictures each training step sees: a schedule that does not depend on earlier steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil, gcd, lcm
from random import Random
from typing import TypeAlias

from clora_ext.errors import UsageError

__all__ = ["Batches", "Bucketed", "batches", "steps_per_epoch"]


@dataclass(frozen=True, slots=True)
class Bucketed:
    """What the schedule needs to know about one picture.

    Attributes:
        width: of its bucket, pixels.
        height: of its bucket, pixels.
        repeats: how often it is shown, relative to the others.
        batch_size: of the batches that it is shown in; None: as of all.
        dataset: pictures of two datasets are never in one batch.
    """

    width: int
    height: int
    repeats: int = 1
    batch_size: int | None = None
    dataset: int = 0

    def bucket(self, batch_size: int) -> "Bucket":
        """What its batches have in common, where all others have this size."""
        own = batch_size if self.batch_size is None else self.batch_size
        return self.width, self.height, own, self.dataset


Bucket: TypeAlias = tuple[int, int, int, int]
"""Width, height, batch size, dataset."""


class Batches:
    """An endless series of full batches; the pictures of a batch have one size.

    It runs in rounds. In each round every picture is shown ``batch_size`` times its repeats (the
    repeats first divided by their greatest common divisor), so each bucket fills its batches exactly: no
    batch is short, and no picture is shown more often for being alone in its bucket. Where pictures are
    shown in batches of several sizes, their least common multiple stands for ``batch_size``.

    Attributes:
        batch_size: pictures in every batch, but for pictures that say otherwise.
        seed: of the order.
        steps_per_round: steps after which every picture was shown exactly in proportion to its repeats.
    """

    def __init__(self, pictures: Sequence[Bucketed], batch_size: int, seed: int) -> None:
        if not pictures:
            raise UsageError("there are no pictures to make batches of", fix="name a folder of images")
        buckets = [picture.bucket(batch_size) for picture in pictures]
        sizes = {each for _, _, each, _ in buckets}
        if min(sizes) < 1:
            raise UsageError(f"batch size {min(sizes)} is not positive", fix="choose 1 or more")
        shared = reduce(gcd, (picture.repeats for picture in pictures))
        if shared < 1 or any(picture.repeats < 1 for picture in pictures):
            raise UsageError("a picture's repeats are not positive", fix="choose 1 or more")
        self.batch_size = batch_size
        self.seed = seed
        self._times = lcm(*sizes)
        self._passes: dict[Bucket, list[int]] = {}
        for index, (picture, bucket) in enumerate(zip(pictures, buckets, strict=True)):
            self._passes.setdefault(bucket, []).extend([index] * (picture.repeats // shared))
        self.steps_per_round = sum(
            len(indices) * self._times // each for (_, _, each, _), indices in self._passes.items()
        )
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
        for bucket in sorted(self._passes):
            stream: list[int] = []
            for _ in range(self._times):
                once = list(self._passes[bucket])
                random.shuffle(once)
                stream += once
            _, _, each, _ = bucket
            order += [tuple(stream[start : start + each]) for start in range(0, len(stream), each)]
        random.shuffle(order)
        return order


def steps_per_epoch(pictures: Sequence[Bucketed], batch_size: int) -> int:
    """Steps of one epoch as trainers count it: each bucket's pictures with their repeats, in whole batches.

    >>> steps_per_epoch([Bucketed(64, 64, 3), Bucketed(80, 48, 1)], batch_size=2)
    3
    """
    totals: dict[Bucket, int] = {}
    for picture in pictures:
        bucket = picture.bucket(batch_size)
        totals[bucket] = totals.get(bucket, 0) + picture.repeats
    return sum(ceil(total / each) for (_, _, each, _), total in totals.items())


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
