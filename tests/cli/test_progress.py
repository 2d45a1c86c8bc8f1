# ruff: noqa: TID251 - the rule keeps the engine from the command line; these are its own tests
import io
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from cases import check_each
from clora_ext.cli.progress import Course, live, plain, shown
from rich.console import Console

from clora_ext.events import Event, FoldStep, Note, Sampled, SampleStep, Stage, TrainStep

GIGABYTE = 1_000_000_000


def train_step(step: int, total: int = 100) -> TrainStep:
    return TrainStep(
        step, total, loss=0.5, learning_rate=1e-3, gradient_norm=0.5, seconds=0.25, memory_bytes=2 * GIGABYTE
    )


def a_run() -> Iterator[Event]:
    yield Stage("sample", "before")
    yield SampleStep(1, 30)
    yield Note("computing on [red]a processor[/red]")
    yield Stage("encode", "5 pictures")
    yield Stage("train", "100 steps")
    yield from (train_step(step) for step in range(1, 101))
    yield Stage("fold", "mask")
    yield from (FoldStep(done, 30, "layer") for done in range(1, 31))
    yield Sampled(Path("sheet.png"))
    yield Stage("commit")


def terminal(width: int = 80) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system=None, markup=False, highlight=False
    )


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line(course: Course, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(course)
    return text_of(console).removesuffix("\n")


def in_training(done: int = 50) -> Course:
    course = Course()
    course.begin(Stage("train"))
    course.advance(train_step(done))
    return course


def test_line_shows_step_loss_speed_time_left_and_memory() -> None:
    text = line(in_training(), 100)
    for fact in ("training", "50/100", "loss 0.5000", "0.25 s/step", "0:12 left", "2.0 GB"):
        assert fact in text


def test_line_fits_every_terminal() -> None:
    def check(width: int) -> None:
        text = line(in_training(), width)
        assert "\n" not in text
        assert len(text) <= width
        assert "50/100" in text

    check_each([20, 40, 60, 80, 120], check)


def test_line_of_a_resumed_run_counts_what_is_left() -> None:
    assert "0:05 left" in line(in_training(done=80), 100)


def test_loss_is_the_mean_of_recent_steps() -> None:
    course = Course()
    course.begin(Stage("train"))
    for step in range(1, 101):
        course.advance(TrainStep(step, 100, 1.0 if step <= 80 else 3.0, 1e-3, 0.5, 0.1, 0))
    assert "loss 3.0000" in line(course, 100)


def test_plain_progress_leaves_ten_seconds_between_lines() -> None:
    console = Console(file=io.StringIO(), width=100, markup=False)
    times = count(0, 1)
    sink = plain(console, clock=lambda: next(times) / 4)
    sink(Stage("train", "1000 steps"))
    for step in range(1, 101):
        sink(train_step(step, 1000))
    lines = text_of(console).splitlines()
    assert lines[0] == "training 1000 steps"
    assert 2 <= len(lines[1:]) <= 4
    assert all("loss 0.5000" in each for each in lines[1:])


def test_plain_progress_shows_each_stage_once_and_the_last_step() -> None:
    console = Console(file=io.StringIO(), width=100, markup=False)
    sink = plain(console)
    for event in a_run():
        sink(event)
    assert text_of(console).splitlines() == [
        "drawing before",
        "computing on [red]a processor[/red]",
        "preparing 5 pictures",
        "training 100 steps",
        "training: 100/100, loss 0.5000, 0:00 left, 0.25 s/step, 2.0 GB",
        "folding mask",
        "drew sheet.png",
        "saving",
    ]


def test_live_progress_leaves_a_line_for_each_stage() -> None:
    console = terminal()
    with live(console) as sink:
        for event in a_run():
            sink(event)
    text = text_of(console)
    for done in ("drawing before", "preparing 5 pictures", "training 100 steps", "folding mask", "saving"):
        assert text.count(f"✓ {done}") == 1
    assert "computing on [red]a processor[/red]" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")  # the cursor is back


def test_stage_that_failed_is_not_ticked_off() -> None:
    console = terminal()

    def fail() -> None:
        with live(console) as sink:
            sink(Stage("train"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "✓" not in text_of(console)
    assert "\x1b[?25h" in text_of(console)


def test_terminal_gets_the_live_line_and_a_file_gets_plain_lines() -> None:
    for console, live_line in ((terminal(), True), (Console(file=io.StringIO()), False)):
        with shown(console) as sink:
            sink(Stage("commit"))
        assert ("\x1b[" in text_of(console)) is live_line


def test_unknown_stage_is_shown_by_its_own_name() -> None:
    course = Course()
    course.begin(Stage("polish", "a [b]little[/b]\x1b[2J"))
    assert line(course, 80).endswith("polish a [b]little[/b]\\x1b[2J")
