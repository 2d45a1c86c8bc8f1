# ruff: noqa: TID251 - the rule keeps the engine from the command line; these are its own tests
import io
import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from math import inf, nan
from pathlib import Path

import pytest
from cases import check_each
from clora_ext.cli.output import Output, jsonable
from clora_ext.cli.watching import sparing
from clora_ext.cli.wording import command, counted, duration, printable, short_hash, size
from rich.console import Console

from clora_ext.events import Event, FoldStep, Note, Sampled, SampleStep, Stage, TrainStep


@dataclass(frozen=True)
class Record:
    path: Path
    numbers: tuple[float, ...]


def test_json_has_plain_values_only() -> None:
    record = Record(Path("a/b"), (1.5, nan, inf))
    assert jsonable({"x": record, 1: {"y"}}) == {
        "x": {"path": str(Path("a/b")), "numbers": [1.5, None, None]},
        "1": ["y"],
    }


EVENTS: dict[Event, dict[str, object]] = {
    Stage("train", "5 steps"): {"event": "stage", "name": "train", "detail": "5 steps"},
    TrainStep(1, 5, nan, 0.1, 0.5, 0.2, 3): {
        "event": "train_step", "step": 1, "total": 5, "loss": None,
        "learning_rate": 0.1, "gradient_norm": 0.5, "seconds": 0.2, "memory_bytes": 3,
    },
    FoldStep(1, 2, "x"): {"event": "fold_step", "done": 1, "total": 2, "name": "x"},
    SampleStep(3, 30): {"event": "sample_step", "done": 3, "total": 30},
    Sampled(Path("x.png")): {"event": "sampled", "path": "x.png"},
    Note("ä\n\udcff"): {"event": "note", "text": "ä\n\udcff"},
}  # fmt: skip


def untimed(line: str) -> dict[str, object]:
    """A line's content, when it was written within the last minute, as it says itself."""
    content: dict[str, object] = json.loads(line)
    written = str(content.pop("time"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written)
    age = datetime.now(timezone.utc) - datetime.fromisoformat(written.replace("Z", "+00:00"))
    assert abs(age.total_seconds()) < 60
    return content


def test_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def check(event: Event) -> None:
        Output(as_json=True).event(event)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.isascii()
        assert untimed(line) == EVENTS[event]

    check_each(EVENTS, check)


def test_text_for_people_goes_where_programs_do_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)
    output.show("hello")
    output.facts({"name": "value"})
    output.result({"a": 1})
    printed = capsys.readouterr()
    assert untimed(printed.out) == {"result": {"a": 1}}
    assert printed.err == "hello\nname  value\n"


def test_people_see_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.show("hello")
    output.result({"a": 1})
    assert capsys.readouterr() == ("hello\n", "")


def test_long_values_stay_in_one_piece(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("/a folder" * 40)
    output = Output(as_json=False)
    output.facts({"file": path})
    output.show(str(path))
    assert capsys.readouterr().out.splitlines() == [f"file  {path}", str(path)]


def test_text_of_strangers_is_taken_literally(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.show("[red]x[/red] :smile: \x1b[2J")
    output.facts({"caption": "[link=x]y[/link]\r"})
    assert capsys.readouterr().out == "[red]x[/red] :smile: \\x1b[2J\ncaption  [link=x]y[/link]\\r\n"


def test_emoji_and_other_scripts_stay_readable() -> None:
    assert printable("हिन्दी 👩‍🚀 כלב 犬") == "हिन्दी 👩‍🚀 כלב 犬"


def test_command_can_be_pasted() -> None:
    assert command("clora", "generate", "-p", "a photo") == 'clora generate -p "a photo"'
    assert command("clora", "--project", Path("x/y")) == f"clora --project {Path('x/y')}"
    assert command("clora", "") == 'clora ""'
    assert command("clora", '$HOME "x"') == "clora '$HOME \"x\"'"


def test_values_read_well() -> None:
    assert (size(0), size(38_200_000)) == ("0 bytes", "38.2 MB")
    assert (duration(0.4), duration(61), duration(3600)) == ("0:00", "1:01", "1:00:00")
    assert (counted(1, "picture"), counted(0, "picture")) == ("1 picture", "0 pictures")
    assert short_hash("0123456789abcdef") == "0123456789ab"


def test_programs_are_told_of_some_tensors_and_of_the_last_one() -> None:
    """A fold of 600 tensors in three seconds, with a stage before it and a note in the middle."""
    told: list[Event] = []
    seconds = (number * 0.005 for number in count())
    sink = sparing(told.append, lambda: next(seconds))
    sink(Stage("fold"))
    for done in range(1, 601):
        sink(FoldStep(done, 600, "x"))
        if done == 300:
            sink(Note("half"))
    folds = [event for event in told if isinstance(event, FoldStep)]
    assert 3 <= len(folds) <= 12
    assert folds[0].done == 1
    assert folds[-1].done == 600
    assert {Stage("fold"), Note("half")} < set(told)


def test_facts_are_wrapped_between_words_on_a_narrow_terminal_and_nowhere_else() -> None:
    words = "rank 8, alpha 8, in 84 layers, 227,328 parameters"
    path = Path("a/long/path/" * 5)

    def shown(width: int, *, terminal: bool) -> list[str]:
        output = Output(as_json=False)
        output.answers = Console(
            file=io.StringIO(), width=width, force_terminal=terminal, no_color=True, color_system=None
        )
        output.facts({"adapter": words, "checkpoint": path})
        assert isinstance(output.answers.file, io.StringIO)
        return output.answers.file.getvalue().splitlines()

    assert shown(40, terminal=False) == [f"adapter     {words}", f"checkpoint  {path}"]
    wrapped = shown(40, terminal=True)
    assert wrapped[-1] == f"checkpoint  {path}"
    assert max(map(len, wrapped[:-1])) <= 40
    assert " ".join(" ".join(wrapped[:-1]).split()) == f"adapter {words}"
