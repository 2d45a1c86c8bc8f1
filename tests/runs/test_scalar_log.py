"""Numbers for TensorBoard, read again by TensorBoard's own reader."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import pictures, stop_at, with_settings, with_source

from clora_ext import Request, add_concept, make_plan
from clora_ext.errors import Cancelled, UsageError
from clora_ext.events import Event, TrainStep, Validated
from clora_ext.runs import scalar_log


def test_numbers_of_a_run_that_was_stopped_stand_once_in_one_folder(
    request_: Request, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = tmp_path / "logs"
    eight = with_source(request_, folder=pictures(tmp_path / "eight", 8), log_dir=logs, log_prefix="try-")
    wished = with_settings(eight, validation_split=0.25, validate_every=3)
    told: list[Event] = []
    with pytest.raises(Cancelled):
        add_concept(wished, stop_at(3))
    add_concept(replace(wished), told.append)
    (folder,) = logs.iterdir()
    assert folder.name.startswith("try-001-eight-eight-")
    found = EventAccumulator(str(folder)).Reload()
    losses = {one.step: one.value for one in found.Scalars("loss/current")}
    assert sorted(losses) == [1, 2, 3, 4, 5, 6]
    later = {one.step: one.loss for one in told if isinstance(one, TrainStep)}
    assert {step: losses[step] for step in later} == pytest.approx(later)
    assert [one.step for one in found.Scalars("loss/validation")] == [3, 6]
    assert found.Scalars("loss/validation")[-1].value == pytest.approx(
        [one.loss for one in told if isinstance(one, Validated)][-1]
    )
    assert {one.step for one in found.Scalars("lr/unet")} == set(losses)


def test_without_tensorboard_nothing_is_started(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scalar_log, "find_spec", lambda name: None)
    wished = with_source(request_, log_dir=tmp_path / "logs")
    with pytest.raises(UsageError, match="cannot be written without it") as caught:
        make_plan(wished)
    assert caught.value.fix == "pip install tensorboard"
    assert not (tmp_path / "logs").exists()


def test_a_file_is_no_folder_for_numbers(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scalar_log, "find_spec", lambda name: object())
    mine = tmp_path / "logs"
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is no folder"):
        make_plan(with_source(request_, log_dir=mine))
