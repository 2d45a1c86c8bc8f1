"""What a plan says of memory, time and disk before anything is done."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cases import check_each
from small_runs import folder_of, snapshot, stop_at, with_settings, with_source

from clora_ext import Request, add_concept, estimate, make_plan
from clora_ext.errors import Cancelled, StorageError
from clora_ext.events import Event, Note
from clora_ext.runs import estimate as estimating


@pytest.fixture(autouse=True)
def speeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No speed is remembered yet; gives the file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "clora" / "speeds.json"


def test_memory_follows_what_takes_memory(request_: Request) -> None:
    big = with_settings(request_, batch_size=64)
    usual = estimate(make_plan(big)).memory
    assert usual is not None
    more = {"batch_size": 128, "resolution": 64, "targets": "transformer", "text_encoder": True}
    more["strategy"] = "distill"
    less = {"gradient_checkpointing": True, "batch_size": 32}

    def check(case: tuple[str, object]) -> None:
        found = estimate(make_plan(with_settings(big, **dict([case])))).memory
        assert found is not None
        assert found > usual if case in more.items() else found < usual

    check_each([*more.items(), *less.items()], check)


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["mask", "distill"])
def test_disk_is_what_the_run_then_writes(request_: Request, tmp_path: Path, strategy: str) -> None:
    asked = with_settings(with_source(request_, export_lora=tmp_path / "dog.safetensors"), strategy=strategy)
    needs = estimate(make_plan(asked)).disk
    result = add_concept(asked)
    written = {
        "checkpoint": result.checkpoint,
        "memory": next((asked.project / "memory").iterdir()),
        "lora": tmp_path / "dog.safetensors",
    }

    def check(part: str) -> None:
        file = written[part].read_bytes()
        data = len(file) - 8 - int.from_bytes(file[:8], "little")  # without length and header
        assert 0 <= getattr(needs, part) - (1 << 20) - data < 0.01 * data

    check_each(written, check)
    assert needs.total - needs.stays == needs.training > 0


def test_a_disk_that_is_too_small_is_told_before_anything_is_done(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = estimate(make_plan(request_)).disk.total
    monkeypatch.setattr(estimating, "_free_disk", lambda folder: needed - 1)

    def check(run: Callable[[Request], object]) -> None:
        with pytest.raises(StorageError, match=r"is too small: the run writes(.|\n)*free 1 byte"):
            run(request_)
        assert not request_.project.exists()

    check_each([make_plan, add_concept], check)
    monkeypatch.setattr(estimating, "_free_disk", lambda folder: needed)
    make_plan(request_)


@pytest.mark.long
def test_time_is_known_from_the_last_run_of_the_same_kind(request_: Request, speeds: Path) -> None:
    asked = with_settings(request_, steps=12)
    assert estimate(make_plan(asked)).seconds_per_step is None
    with pytest.raises(Cancelled):
        add_concept(asked, stop_at(11))
    stopped = estimate(make_plan(asked))
    assert stopped.seconds is None  # what comes after the training is not known yet
    assert stopped.seconds_per_step is not None
    add_concept(asked)
    known = estimate(make_plan(replace(asked, project=asked.project.parent / "other")))
    assert known.seconds is not None
    assert known.seconds_per_step is not None
    assert known.seconds > 12 * known.seconds_per_step > 0
    other = with_settings(replace(asked, project=asked.project.parent / "other"), batch_size=1)
    assert estimate(make_plan(other)).seconds_per_step is None


@pytest.mark.long
def test_speeds_that_are_none_are_passed_over(request_: Request, speeds: Path) -> None:
    add_concept(with_settings(request_, steps=4))
    asked = replace(request_, project=request_.project.parent / "other")
    content = json.loads(speeds.read_text())
    (key,) = content["runs"]
    assert estimate(make_plan(asked)).seconds_per_step is not None
    nan = float("nan")
    bad = [
        *(None, 3, [], {"step": "1", "rest": None}, {"step": -1.0, "rest": None}),
        *(
            {"step": 1e300, "rest": None},
            {"step": 1.0},
            {"step": 1.0, "rest": nan},
            {"step": 1.0, "rest": "x"},
        ),
    ]

    def check(entry: object) -> None:
        speeds.write_text(json.dumps({**content, "runs": {key: entry}}))
        os.chmod(speeds, 0o600)  # noqa: PTH101
        assert estimate(make_plan(asked)).seconds_per_step is None

    check_each(bad, check)


def test_texts_that_are_too_long_stand_in_the_plan_and_are_told_by_the_run(request_: Request) -> None:
    (folder_of(request_) / "1.txt").write_text("a very long caption of sks dog " * 5, encoding="utf-8")
    asked = with_settings(request_, sample_prompt="sks dog " * 30)
    before = snapshot(request_.project)
    plan = make_plan(asked)
    assert [cut.what for cut in plan.cut_texts] == ["the caption of 1.png", "the prompt of the samples"]
    assert plan.cut_texts[1].tokens == 60 + 2 - 20
    assert plan.as_dict()["cut_texts"][1] == {"what": "the prompt of the samples", "tokens": 42}
    assert snapshot(request_.project) == before
    told: list[Event] = []
    with pytest.raises(Cancelled):
        add_concept(asked, lambda event: (told.append(event), stop_at(1)(event))[1])
    notes = [event.text for event in told if isinstance(event, Note)]
    assert notes[:2] == [str(cut) for cut in plan.cut_texts]
    assert notes[1] == "the prompt of the samples is too long: its last 42 tokens are not read"
    assert make_plan(request_).cut_texts[1:] == ()
