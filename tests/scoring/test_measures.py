"""What vectors say, by hand; and a scorer that is not asked twice."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from clora_ext.scoring.cached import CachedScorer, picture_hash
from clora_ext.scoring.measures import kernel_distance, likeness, likeness_across, paired_drift

E = torch.eye(2)
TURNED = torch.tensor([[0.6, 0.8], [0.0, 1.0]])


def test_likeness_and_drift_by_hand() -> None:
    torch.testing.assert_close(likeness(TURNED, E), torch.tensor([0.7, 0.5]))
    torch.testing.assert_close(likeness_across(TURNED, E), torch.tensor([0.8, 0.0]))
    torch.testing.assert_close(paired_drift(E, TURNED), torch.tensor([0.4, 0.0]))


def test_the_kernel_distance_by_hand() -> None:
    # Within E: (0 + 1)^3; within TURNED: (0.8 + 1)^3; across: cosines 0.6, 0.8, 0, 1.
    across = (1.6**3 + 1.8**3 + 1 + 2**3) / 4
    assert kernel_distance(E, TURNED) == pytest.approx(1 + 1.8**3 - 2 * across)
    assert kernel_distance(TURNED, E) == pytest.approx(kernel_distance(E, TURNED))


def test_sets_of_one_kind_are_no_distance_apart_on_the_average_and_others_are() -> None:
    rng = torch.Generator().manual_seed(1)

    def drawn(shift: float) -> Tensor:
        points = torch.randn(40, 8, generator=rng) + shift
        return torch.nn.functional.normalize(points, dim=1)

    same = [kernel_distance(drawn(0.5), drawn(0.5)) for _ in range(40)]
    assert abs(sum(same) / 40) < 0.03
    assert min(same) < 0 < max(same)  # unbiased
    assert min(kernel_distance(drawn(0.5), drawn(-0.5)) for _ in range(10)) > 0.5


class Counting:
    """Brightness as a vector; counts what it is shown."""

    name, digest = "counting", 64 * "c"

    def __init__(self) -> None:
        self.shown = 0

    def images(self, pictures: Sequence[Image.Image]) -> Tensor:
        self.shown += len(pictures)
        return torch.tensor([[float(one.convert("L").getpixel((0, 0))), 1.0] for one in pictures])  # type: ignore[arg-type]


def test_no_picture_is_shown_twice_neither_in_a_process_nor_in_the_next(tmp_path: Path) -> None:
    gray, white = Image.new("RGB", (4, 4), "gray"), Image.new("RGB", (4, 4), "white")
    file, counting = tmp_path / "new" / "vectors.safetensors", Counting()
    scorer = CachedScorer(counting, file)
    first = scorer.images([gray, white, gray])
    torch.testing.assert_close(first, torch.tensor([[128.0, 1.0], [255.0, 1.0], [128.0, 1.0]]))
    assert counting.shown == 2
    scorer.save()
    again = CachedScorer(counting, file)
    torch.testing.assert_close(again.images([white, gray]), first[1:])
    assert (counting.shown, again.digest) == (2, counting.digest)
    counting.digest = 64 * "d"  # other weights: what is kept is not theirs
    CachedScorer(counting, file).images([white])
    assert counting.shown == 3
    file.write_bytes(b"damaged")
    CachedScorer(counting, file).images([white])
    assert counting.shown == 4
    assert picture_hash(Image.new("RGB", (2, 8))) != picture_hash(Image.new("RGB", (8, 2)))
    assert picture_hash(gray.convert("RGBA")) == picture_hash(gray)
