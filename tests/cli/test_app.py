import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from clora_ext import GenerateRequest, Lora, Pictures, Request, strategies
from clora_ext.config.settings import Settings

(ENTRY,) = entry_points(group="console_scripts", name="clora")
main: Callable[[list[str]], int] = ENTRY.load()

COMMANDS = ("add-concept", "status", "generate", "export", "undo", "inspect")
HEAVY = ("pydantic", "torch", "diffusers", "transformers", "peft", "accelerate")
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


def test_help_of_every_command_has_an_example_and_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: list[str] = []
    for command in COMMANDS:
        for width in (80, 120):
            monkeypatch.setenv("COLUMNS", str(width))
            monkeypatch.setenv("TERMINAL_WIDTH", str(width))
            code = main([command, "--help"])
            told = capsys.readouterr().out
            if code:
                wrong.append(f"{command}: exit code {code}")
            if f"Example: clora {command} " not in told:
                wrong.append(f"{command}: no example")
            if max(map(len, told.splitlines())) > width:
                wrong.append(f"{command}: wider than {width}")
    assert wrong == []


def test_help_shows_every_strategy_in_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    main(["add-concept", "--help"])
    told = words(capsys.readouterr().out)
    for name in strategies.names():
        assert f"{name}: {strategies.summary(name)}" in told


def test_help_shows_the_options_of_every_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("add-concept", "add-lora"):
        main([command, "--help"])
        told = words(capsys.readouterr().out)
        for name in strategies.names():
            for option, help_ in strategies.describe_options(name).items():
                assert f"{name}: {option}. {help_}" in told


def test_help_shows_the_defaults_of_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    main(["add-concept", "--help"])
    told = words(capsys.readouterr().out)
    defaults = {
        "strategy": Settings().strategy, "keep": 1, "seed": 0, "weight-decay": 0.0001, "sample-steps": 30,
        "rank": "(as suits the model)", "learning-rate": "(as suits the model)", "steps": "(by the preset)",
        "alpha": "(the rank)", "sample-prompt": "(the first picture's caption)",
    }  # fmt: skip
    for option, default in defaults.items():
        described = told.split(f" --{option} ", 1)[1]
        assert described.split("[default: ", 1)[1].startswith(f"{default}]"), option


def test_defaults_that_are_spelled_in_commands_are_the_engines() -> None:
    for command, source, own in (
        ("add-concept", Pictures, {"skip_bad", "convert"}),
        ("add-lora", Lora, {"weight"}),
    ):
        assert spelled(command, Request) >= {"project", "keep"}
        assert spelled(command, source) >= own
    assert spelled("generate", GenerateRequest) == {"count", "guidance", "negative", "seed", "size", "steps"}


def spelled(command: str, request: type) -> set[str]:
    """Options of a command whose defaults are those of the engine's request; any other default fails."""
    (entry,) = entry_points(group="console_scripts", name="clora")
    app = sys.modules[entry.module].app
    (callback,) = (one.callback for one in app.registered_commands if one.name == command)
    engine = {field.name: field.default for field in fields(request)}
    own = {
        name: parameter.default
        for name, parameter in inspect.signature(callback).parameters.items()
        if name in engine and parameter.default is not inspect.Parameter.empty
    }
    assert own == {name: engine[name] for name in own}
    return set(own)


WRONG_CALLS = {
    "unknown command": ["add-concpet", "x"],
    "unknown option": ["add-concept", "--stps", "5", "x"],
    "no pictures named": ["add-concept"],
    "no number": ["add-concept", "--steps", "many", "x"],
    "no prompt": ["generate"],
    "no file": ["export"],
    "unknown strategy": ["add-concept", "--strategy", "msak", "x"],
    "several settings": ["add-concept", "--steps", "0", "--rank", "-1", "x"],
    "option of another strategy": ["add-concept", "--strategy-option", "mode=paper", "x"],
    "unknown mode": ["add-concept", "--strategy", "orthogonal", "--strategy-option", "mode=papr", "x"],
    "option without a value": ["add-lora", "--strategy-option", "mode", "x"],
    "option given twice": ["add-lora", "--strategy-option", "a=1", "--strategy-option", "a=2", "x"],
}


def test_wrong_call_is_told_and_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wrong: list[str] = []
    for name, arguments in WRONG_CALLS.items():
        code, told = main(arguments), capsys.readouterr()
        if (code, told.out) != (2, "") or not told.err.startswith("error: ") or "Traceback" in told.err:
            wrong.append(f"{name}: {code} {told}")
    assert wrong == []
    assert list(tmp_path.iterdir()) == []


def test_wrong_call_is_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    wrong: list[str] = []
    for name, arguments in WRONG_CALLS.items():
        code, told = main([*arguments, "--json"]), capsys.readouterr().out
        error = json.loads(told)["error"]
        if (code, error["exit_code"]) != (2, 2) or not error["message"]:
            wrong.append(f"{name}: {code} {told}")
    assert wrong == []


HINTS = [
    (["add-concpet"], "add-concept"),
    (["add-concept", "--stps", "5", "x"], "--steps"),
    (["add-concept", "--strategy", "msak", "x"], "did you mean 'mask'?"),
    (["add-concept", "--strategy-option", "mode=papr", "--strategy", "orthogonal", "x"], "'paper'"),
    (["add-concept", "--strategy-option", "mod=paper", "--strategy", "orthogonal", "x"], "'mode'"),
    (["add-concept", "--strategy-option", "mode=paper", "x"], "'mask' has no option 'mode'"),
    (["add-lora", "--strategy-option", "mode=papr", "--strategy", "orthogonal", "x"], "'paper'"),
    (["add-concept", "--targets", "attenton", "x"], "did you mean 'attention'?"),
    (["add-concept"], "see clora add-concept --help"),
]


def test_wrong_word_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    wrong: list[str] = []
    for arguments, hint in HINTS:
        main(arguments)
        told = capsys.readouterr().err
        if hint not in told:
            wrong.append(f"{' '.join(arguments)}: {told}")
    assert wrong == []


def test_all_wrong_settings_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    main(["add-concept", "--strategy", "msak", "--steps", "0", "--rank", "-1", "x"])
    told = capsys.readouterr().err
    assert all(name in told for name in ("msak", "steps", "rank"))
    own = ["--strategy-option", "mode=papr", "--strategy-option", "depth=3"]
    main(["add-concept", "--strategy", "orthogonal", *own, "--preview-every", "-1", "x"])
    told = capsys.readouterr().err
    assert all(name in told for name in ("papr", "'depth'", "preview-every"))


def test_answers_at_once_without_the_engine_room(tmp_path: Path) -> None:
    wrong: list[str] = []
    helps = [[command, "--help"] for command in COMMANDS]
    for arguments in ([], ["--help"], ["--version"], *helps, ["inspect", "x"], ["status"]):
        began = time.monotonic()
        loaded = run_apart(*arguments, folder=tmp_path).stderr.splitlines()[-1].split()[1:]
        # Typer itself loads pydantic as soon as it has words to read that are no call for help.
        allowed = set() if arguments == ["--help"] else {"pydantic"}
        # Under half a second on a machine that does nothing else.
        if set(loaded) - allowed or time.monotonic() - began > 5:
            wrong.append(f"{arguments}: {loaded}, {time.monotonic() - began:.1f} s")
    assert wrong == []


def test_missing_project_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    wrong: list[str] = []
    for arguments in (["status"], ["undo"], ["export", "x.safetensors"], ["generate", "-p", "x"]):
        code, told = main(arguments), capsys.readouterr().err
        if code != 1 or not told.startswith("error: ") or "clora-model" not in told:
            wrong.append(f"{arguments}: {code} {told}")
    assert wrong == []


def test_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "inspect", "missing.safetensors"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert "\x1b[3" not in done.stderr
