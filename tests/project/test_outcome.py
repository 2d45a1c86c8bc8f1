"""What was measured, in its own file: arithmetic by hand, and files that are damaged or hostile."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import check_each

from clora_ext.project.outcome import (
    Drift,
    Estimate,
    HeldOutLoss,
    Kept,
    Likeness,
    Outcome,
    Question,
    read_outcome,
)

SCORE = Likeness(Estimate(0.6, 0.02), Estimate(0.9, 0.01), 1.0, (Question("sks dog", (0.5, -0.25)),))
LOSS = HeldOutLoss.of([1.0, 3.0, 2.0], [0.5, 2.0, 2.0], [0.6, 2.4, 1.8])
DRIFT = Drift(6, Estimate(0.02, 0.01), Estimate(0.1, 0.03), "demo")
WHOLE = Outcome(LOSS, SCORE, (Kept(1, 0.75, 0.9, 0.8), Kept(2, 0.25, 0.9, 0.6, "clip")), DRIFT, 0.125)


def test_the_gain_is_taken_draw_by_draw() -> None:
    assert (LOSS.before.mean, LOSS.trained.mean, LOSS.draws) == (2.0, 1.5, 3)
    assert LOSS.gain.mean == pytest.approx((0.4 + 0.6 + 0.2) / 3)
    assert LOSS.gain.error == pytest.approx(0.2 / 3**0.5)  # their deviation is 0.2; the losses' own is 1
    assert LOSS.is_better
    assert not HeldOutLoss.of([1.0, 3.0], [1.0, 3.0], [0.5, 3.1]).is_better
    assert not HeldOutLoss.of([1.0, 3.0], [1.0, 3.0], [1.0, 3.0]).is_better


def test_the_first_draws_of_the_adapter_tell_its_mean_over_all() -> None:
    found = HeldOutLoss.of([1.0, 3.0, 2.0, 6.0], [0.5, 2.0], [0.6, 2.4, 1.8, 5.2])
    assert found.trained.mean == pytest.approx(2.5 - (0.1 + 0.4) / 2)
    apart = 0.15  # of two differences, -0.1 and -0.4
    assert found.trained.error == pytest.approx((found.after.error**2 + apart**2) ** 0.5)
    assert (found.draws, found.gain.mean) == (4, pytest.approx(0.5))


def test_learned_is_the_share_of_the_way_and_a_gain_stands_out_of_its_error() -> None:
    assert SCORE.learned == pytest.approx(0.75)
    assert WHOLE.forgotten == (2,)
    assert SCORE.is_gain
    nothing = replace(SCORE, after=SCORE.before)
    assert (nothing.learned, nothing.is_gain) == (0.0, False)
    assert not replace(SCORE, after=Estimate(0.64, 0.01)).is_gain  # 0.04 beside an error of 0.022
    assert replace(SCORE, after=Estimate(0.65, 0.01)).is_gain


def test_the_scorer_has_the_word_and_without_it_the_loss() -> None:
    little = replace(SCORE, after=Estimate(0.7, 0.01))
    cases: list[tuple[Outcome, bool | None]] = [
        (WHOLE, True),
        (replace(WHOLE, likeness=little), False),
        (replace(WHOLE, likeness=None), True),
        (Outcome(HeldOutLoss.of([1.0, 3.0], [1.0, 3.0], [1.0, 3.0]), None, ()), False),
        (Outcome(None, None, ()), None),
        # Nobody knows how much of another scorer's way is enough.
        (replace(WHOLE, likeness=replace(little, scorer="dinov2")), True),
    ]

    def check(case: tuple[Outcome, bool | None]) -> None:
        assert case[0].is_learned is case[1]

    check_each(cases, check)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    WHOLE.write(tmp_path / "001-sks-dog.json")
    assert read_outcome(tmp_path / "001-sks-dog.json") == WHOLE
    plain = WHOLE.as_dict()
    assert "questions" not in json.dumps(plain)
    assert (plain["interference"], plain["drift"]["distance"]["mean"], plain["kept"][1]["scorer"]) == (
        0.125, 0.1, "clip",
    )  # fmt: skip


def test_what_folding_changed_is_told_where_it_matters() -> None:
    assert LOSS.was_changed_by_folding  # 0.1 of a gain of 0.4
    assert not HeldOutLoss.of([1.0, 3.0], [0.5, 2.5], [0.51, 2.51]).was_changed_by_folding


def _damaged(*steps: str, value: Any) -> str:
    content = json.loads(
        json.dumps({"held_out": None, "likeness": None, "kept": [{"number": 1, "share": 1}]})
    )
    place = content
    for step in steps[:-1]:
        place = place[int(step) if step.isdigit() else step]
    place[steps[-1]] = value
    return json.dumps(content)


HOSTILE = (
    "", "[]", "null", "[" * 100_000, '{"held_out": null}', '"\\ud800"', "x" * (1 << 21),
    _damaged("kept", "0", "share", value="much"), _damaged("kept", "0", "share", value=10**400),
    _damaged("kept", "0", "number", value=0), _damaged("kept", value={}), _damaged("more", value=1),
    _damaged("held_out", value={"draws": 1}), '{"held_out": null, "likeness": null, "kept": [NaN]}',
)  # fmt: skip


def test_a_file_that_is_none_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    def check(text: str) -> None:
        (tmp_path / "x.json").write_text(text)
        assert read_outcome(tmp_path / "x.json") is None

    check_each(HOSTILE, check)
    assert read_outcome(tmp_path / "missing.json") is None
    assert read_outcome(tmp_path) is None
    (tmp_path / "x.json").write_text(_damaged("kept", "0", "share", value=0.5))
    assert read_outcome(tmp_path / "x.json") == Outcome(None, None, (Kept(1, 0.5),))
