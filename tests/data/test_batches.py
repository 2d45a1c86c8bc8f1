"""Buckets and the schedule, by their properties."""

from collections import Counter
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clora_ext.data import Bucketed, batches, bucket_sizes, nearest, steps_per_epoch
from clora_ext.data.buckets import cover
from clora_ext.errors import UsageError

PICTURES = st.lists(
    st.builds(Bucketed, st.sampled_from([48, 64, 80]), st.just(64), st.integers(1, 4)),
    min_size=1,
    max_size=12,
)


@given(st.integers(1, 1100), st.sampled_from([1, 8, 16, 32, 64]))
@settings(max_examples=60)
def test_buckets_keep_area_step_and_proportions(resolution: int, step: int) -> None:
    if resolution < step:
        with pytest.raises(UsageError, match="px is too small: the sides"):
            bucket_sizes(resolution, step)
        return
    sizes = bucket_sizes(resolution, step)
    assert (resolution // step * step,) * 2 in sizes
    assert list(sizes) == sorted({(height, width) for width, height in sizes})
    for width, height in sizes:
        assert width * height <= resolution**2
        assert width % step == height % step == 0
        assert max(width, height) <= 2 * min(width, height)
        assert width == height or min(width, height) * (max(width, height) + step) > resolution**2


def test_buckets_of_stable_diffusion_are_those_worked_out_by_hand() -> None:
    assert bucket_sizes(512, 64) == (*((384, 640), (448, 576), (512, 512), (576, 448), (640, 384)),)


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_nearest_has_the_nearest_proportions(width: int, height: int) -> None:
    sizes = bucket_sizes(512, 64)
    chosen = nearest(width, height, sizes)
    distances = [abs(log(w / h) - log(width / height)) for w, h in sizes]
    assert abs(log(chosen[0] / chosen[1]) - log(width / height)) == min(distances)


def test_scale_and_cropped_share_are_those_worked_out_by_hand() -> None:
    assert cover(512, 512, 512) == (1, 0)
    assert cover(512, 256, 512)[1] == 0
    assert cover(512, 256, 512)[0] == pytest.approx(2**0.5)
    assert cover(300, 100, 100)[1] == pytest.approx(1 / 3)
    assert cover(100, 300, 100)[1] == pytest.approx(1 / 3)


@given(PICTURES, st.integers(1, 7), st.integers(0, 3))
@settings(max_examples=60)
def test_every_batch_is_full_and_of_one_bucket(pictures: list[Bucketed], size: int, seed: int) -> None:
    schedule = batches(pictures, size, seed)
    for step in range(2 * schedule.steps_per_round):
        batch = schedule.batch_at(step)
        assert len(batch) == size
        assert len({pictures[index].width for index in batch}) == 1


@given(PICTURES, st.integers(1, 7))
@settings(max_examples=60)
def test_each_round_shows_every_picture_in_proportion_to_its_repeats(
    pictures: list[Bucketed], size: int
) -> None:
    schedule = batches(pictures, size, seed=1)
    shown = Counter(index for step in range(schedule.steps_per_round) for index in schedule.batch_at(step))
    assert {shown[index] / picture.repeats for index, picture in enumerate(pictures)} == {
        shown[0] / pictures[0].repeats
    }


@given(PICTURES, st.integers(1, 7), st.lists(st.integers(0, 200), min_size=1, max_size=5))
@settings(max_examples=60)
def test_resuming_anywhere_gives_the_same_batches(
    pictures: list[Bucketed], size: int, steps: list[int]
) -> None:
    straight = batches(pictures, size, seed=2)
    series = [straight.batch_at(step) for step in range(201)]
    resumed = batches(pictures, size, seed=2)
    assert [resumed.batch_at(step) for step in steps] == [series[step] for step in steps]


def test_order_changes_from_round_to_round_and_with_the_seed() -> None:
    pictures = [Bucketed(64, 64)] * 8
    first, other = batches(pictures, 1, seed=0), batches(pictures, 1, seed=1)
    rounds = [tuple(first.batch_at(8 * number + step) for step in range(8)) for number in range(3)]
    assert len({*rounds, tuple(other.batch_at(step) for step in range(8))}) == 4
    assert all(sorted(order) == [(index,) for index in range(8)] for order in rounds)


def test_common_repeats_do_not_lengthen_a_round_but_an_epoch() -> None:
    pictures = [Bucketed(64, 64, 10), Bucketed(64, 64, 20)]
    assert (batches(pictures, 2, seed=0).steps_per_round, steps_per_epoch(pictures, 2)) == (3, 15)


# Buckets with their pictures and repeats, batch size: batches of an epoch, as sd-scripts 0.11.1 counts them.
EPOCHS = [
    ({(64, 64): (5, 1)}, 1, 5),
    ({(64, 64): (3, 3), (64, 96): (2, 3), (96, 64): (1, 3)}, 4, 6),
]


@pytest.mark.parametrize(("buckets", "batch_size", "steps"), EPOCHS)
def test_an_epoch_is_as_long_as_trainers_count_it(
    buckets: dict[tuple[int, int], tuple[int, int]], batch_size: int, steps: int
) -> None:
    pictures = [Bucketed(*size, repeats) for size, (count, repeats) in buckets.items() for _ in range(count)]
    assert steps_per_epoch(pictures, batch_size) == steps


def test_order_is_the_same_on_every_python() -> None:
    schedule = batches([Bucketed(64, 64)] * 5, 2, seed=7)
    assert [schedule.batch_at(step) for step in range(5)] == [(1, 4), (3, 0), (2, 1), (3, 4), (2, 0)]


def test_impossible_schedules_are_refused() -> None:
    with pytest.raises(UsageError, match="no pictures"):
        batches([], 1, 0)
    with pytest.raises(UsageError, match="batch size 0"):
        batches([Bucketed(64, 64)], 0, 0)
    with pytest.raises(UsageError, match="repeats"):
        batches([Bucketed(64, 64), Bucketed(64, 64, 0)], 1, 0)
    with pytest.raises(IndexError):
        batches([Bucketed(64, 64)], 1, 0).batch_at(-1)
