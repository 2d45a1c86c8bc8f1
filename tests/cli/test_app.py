import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from clora_ext import strategies
from clora_ext.config.settings import Settings

(ENTRY,) = entry_points(group="console_scripts", name="clora")
main: Callable[[list[str]], int] = ENTRY.load()

COMMANDS = ("add-concept", "status", "generate", "export", "undo", "inspect")
HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate")
PROBE = f"""
import sys
from importlib.metadata import entry_points

(entry,) = entry_points(group="console_scripts", name="clora")
code = entry.load()()
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


def run_apart(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROBE, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def words(text: str) -> str:
    """Everything in the boxes of the help, on one line."""
    return " ".join(text.translate(str.maketrans("│╭╮╰╯─", "      ")).split())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"│ {command} " in told for command in COMMANDS)
    assert "Example: clora add-concept" in told


def test_clora_alone_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: clora" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"clora {version('clora')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Example: clora {command} " in capsys.readouterr().out


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_the_terminal(
    command: str, width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERMINAL_WIDTH", width)
    main([command, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= int(width)


def test_help_shows_every_strategy_in_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    main(["add-concept", "--help"])
    told = words(capsys.readouterr().out)
    for name in strategies.names():
        assert f"{name}: {strategies.summary(name)}" in told


def test_help_shows_the_defaults_of_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    main(["add-concept", "--help"])
    told = words(capsys.readouterr().out)
    assert words("--steps <int> Training steps, exactly. [default: (by the preset)]") in told
    for name in ("strategy", "rank", "learning_rate", "batch_size", "seed"):
        option = told.split(f" --{name.replace('_', '-')} ", 1)[1]
        own = name in {"strategy", "seed"}  # the others differ from model to model
        default = getattr(Settings(), name) if own else "(as suits the model)"
        assert option.split("[default: ", 1)[1].startswith(f"{default}]")


def test_help_shows_the_default_mode_of_the_orthogonal_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    from clora_ext.strategies.orthogonal import Orthogonal

    main(["add-concept", "--help"])
    option = words(capsys.readouterr().out).split(" --orthogonal-mode ", 1)[1]
    assert option.split("[default: ", 1)[1].startswith(f"({Orthogonal().mode})]")


WRONG_CALLS = {
    "unknown command": ["add-concpet", "x"],
    "unknown option": ["add-concept", "--stps", "5", "x"],
    "no pictures named": ["add-concept"],
    "no number": ["add-concept", "--steps", "many", "x"],
    "no prompt": ["generate"],
    "no file": ["export"],
    "unknown strategy": ["add-concept", "--strategy", "msak", "x"],
    "several settings": ["add-concept", "--steps", "0", "--rank", "-1", "x"],
    "mode of another strategy": ["add-concept", "--orthogonal-mode", "paper", "x"],
    "unknown mode": ["add-concept", "--strategy", "orthogonal", "--orthogonal-mode", "papr", "x"],
}


@pytest.mark.parametrize("arguments", WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_wrong_call_is_told_and_changes_nothing(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_wrong_call_is_json_for_programs(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["exit_code"] == 2
    assert error["message"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["add-concpet"], "add-concept"),
        (["add-concept", "--stps", "5", "x"], "--steps"),
        (["add-concept", "--strategy", "msak", "x"], "did you mean 'mask'?"),
        (["add-concept", "--orthogonal-mode", "papr", "--strategy", "orthogonal", "x"], "'paper'"),
        (["add-concept", "--orthogonal-mode", "paper", "x"], "--orthogonal-mode says nothing"),
        (["add-concept"], "see clora add-concept --help"),
    ],
)
def test_wrong_word_is_answered_with_the_right_one(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments)
    assert hint in capsys.readouterr().err


def test_all_wrong_settings_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    main(["add-concept", "--strategy", "msak", "--steps", "0", "--rank", "-1", "x"])
    told = capsys.readouterr().err
    assert all(name in told for name in ("msak", "steps", "rank"))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--version"],
        *([command, "--help"] for command in COMMANDS),
        ["inspect", "x"],
        ["status"],
    ],
    ids=" ".join,
)
def test_answers_at_once_without_the_engine_room(arguments: list[str], tmp_path: Path) -> None:
    began = time.monotonic()
    done = run_apart(*arguments, folder=tmp_path)
    assert done.stderr.splitlines()[-1].strip() == "loaded:"
    assert time.monotonic() - began < 5  # under one second on a machine that does nothing else


@pytest.mark.parametrize(
    "arguments", [["status"], ["undo"], ["export", "x.safetensors"], ["generate", "-p", "x"]]
)
def test_missing_project_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "clora-model" in told


def test_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "inspect", "missing.safetensors"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert "\x1b[3" not in done.stderr
