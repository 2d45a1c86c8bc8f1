"""The sizes at which pictures are trained stand in the plan: a plan that is made can be carried out."""

from dataclasses import replace
from typing import Any

import pytest
from cases import check_each
from small_runs import SETTINGS, with_settings
from tiny_model import RESOLUTION

from clora_ext import Request, add_concept, make_plan
from clora_ext.data import Cut, Picture, load_pixels
from clora_ext.errors import UsageError


def test_resolution_that_no_picture_can_have_is_refused_by_the_plan(request_: Request) -> None:
    multiple = make_plan(request_).context.size_multiple

    def check(resolution: int) -> None:
        with pytest.raises(UsageError, match=rf"a resolution of {resolution:,} px is too (small|large)") as e:
            make_plan(with_settings(replace(request_, settings=SETTINGS), resolution=resolution))
        assert e.value.fix.startswith("choose")
        assert not request_.project.exists()

    check_each([1, 3, multiple - 1, 16_385, 10**12], check)
    assert make_plan(with_settings(replace(request_, settings=SETTINGS), resolution=multiple)).sizes


def test_plan_has_the_size_of_each_picture_and_the_run_keeps_to_it(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(request_)
    assert (plan.resolution, plan.context.size_multiple) == (RESOLUTION, 4)
    # The pictures are 32, 48 and 64 x 40. Of about 32 x 32 pixels in steps of 4 there are 24 x 40, 28 x 36,
    # 32 x 32, 36 x 28 and 40 x 24.
    assert plan.sizes == ((28, 36), (36, 28), (40, 24))
    assert plan.as_dict()["sizes"] == [[28, 36], [36, 28], [40, 24]]
    used: list[tuple[int, int]] = []

    def load(picture: Picture, cut: Cut, *, convert: bool) -> Any:
        used.append(cut.size)
        return load_pixels(picture, cut, convert=convert)

    monkeypatch.setattr("clora_ext.runs.encode.load_pixels", load)
    add_concept(request_)
    assert tuple(used) == plan.sizes
