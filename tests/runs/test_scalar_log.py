"""Numbers for TensorBoard, read again by TensorBoard's own reader."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import pictures, stop_at, with_settings, with_source

from clora_ext import Request, add_concept, make_plan
from clora_ext.errors import Cancelled, UsageError
from clora_ext.events import Event, TrainStep, Validated
from clora_ext.runs import tensorboard_log, wandb_log


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
    norms = {one.step: one.gradient_norm for one in told if isinstance(one, TrainStep)}
    written = {one.step: one.value for one in found.Scalars("norm/gradient")}
    assert {step: written[step] for step in norms} == pytest.approx(norms)


def test_without_tensorboard_nothing_is_started(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard_log, "find_spec", lambda name: None)
    wished = with_source(request_, log_dir=tmp_path / "logs")
    with pytest.raises(UsageError, match="cannot be written without it") as caught:
        make_plan(wished)
    assert caught.value.fix == "pip install tensorboard"
    assert not (tmp_path / "logs").exists()


def test_a_file_is_no_folder_for_numbers(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard_log, "find_spec", lambda name: object())
    mine = tmp_path / "logs"
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is no folder"):
        make_plan(with_source(request_, log_dir=mine))


def test_numbers_of_a_run_that_was_stopped_are_one_run_of_weights_and_biases(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "sent"))
    (tmp_path / "sent").mkdir()
    wished = with_source(request_, wandb_project="dogs", wandb_name="first")
    with pytest.raises(Cancelled):
        add_concept(wished, stop_at(2))
    told: list[Event] = []
    add_concept(wished, told.append)
    sent = [values for file in sorted((tmp_path / "sent").rglob("*.wandb")) for values in _sent(file)]
    names = {(one.run.project, one.run.run_id, one.run.display_name) for one in sent if one.HasField("run")}
    assert len(names) == 1
    ((project, run, name),) = names
    assert (project, name) == ("dogs", "first")
    assert run.startswith("001-")
    losses = {}
    for one in sent:
        if one.HasField("history"):
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.history.item}
            losses[items["_step"]] = items["loss/current"]
    steps = [one for one in told if isinstance(one, TrainStep)]
    assert sorted(losses) == [1, 2, 3, 4, 5, 6]
    assert [losses[one.step] for one in steps] == [one.loss for one in steps]


def _sent(file: Path) -> "Iterator[Any]":
    """The records of a file that Weights & Biases wrote: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:  # no record begins so near to a block's end
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def test_without_weights_and_biases_nothing_is_started(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_log, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="cannot be written without it") as caught:
        make_plan(with_source(request_, wandb_project="dogs"))
    assert caught.value.fix == 'pip install "clora[wandb]"'


def test_a_project_of_weights_and_biases_has_a_name(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_log, "find_spec", lambda name: object())
    with pytest.raises(UsageError, match="no name of a project"):
        make_plan(with_source(request_, wandb_project="a/b"))
