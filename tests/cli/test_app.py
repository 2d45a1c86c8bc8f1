import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import entry_points, version
from itertools import product
from pathlib import Path

import pytest
from cases import check_each

from clora_ext import GenerateRequest, Lora, Pictures, Request, strategies
from clora_ext.config.settings import Settings

(ENTRY,) = entry_points(group="console_scripts", name="clora")
main: Callable[[list[str]], int] = ENTRY.load()

COMMANDS = ("add-concept", "add-lora", "status", "generate", "export", "copy", "undo", "inspect")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def words(text: str) -> str:
    """Everything in the help, on one line."""
    return " ".join(text.split())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert "Example: clora add-concept" in text


def test_clora_alone_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: clora" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"clora {version('clora')}\n"


def test_help_of_every_command_has_an_example_and_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(case: tuple[str, int]) -> None:
        command, width = case
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERMINAL_WIDTH", str(width))
        code, text = main([command, "--help"]), capsys.readouterr().out
        assert code == 0
        assert f"Example: clora {command} " in text
        to_be_copied = ("Example: ", "Then: ")
        assert max(len(line) for line in text.splitlines() if not line.startswith(to_be_copied)) <= width

    check_each(product(COMMANDS, (40, 80, 120)), check)


def test_help_is_shown_by_that_word_too_and_names_no_type_of_a_switch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def check(words_: str) -> None:
        assert main(["help", *words_.split()]) == 0
        by_word = capsys.readouterr().out
        assert main([*words_.split(), "--help"]) == 0
        assert by_word == capsys.readouterr().out
        assert "bool" not in by_word.lower()

    check_each(["", *COMMANDS, "comfyui install"], check)


def test_an_unknown_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    nearest = {"ad-concept": "add-concept", "gen": "generate", "remov": "remove", "xyz": None}

    def check(word: str) -> None:
        assert main([word]) == main(["help", word]) == 2
        told = capsys.readouterr().err
        assert told.count(f"no such command '{word}'") == 2
        found = nearest[word]
        assert told.count("did you mean") == (2 if found else 0)
        assert not found or f"did you mean '{found}'?" in told

    check_each(nearest, check)


def test_help_shows_strategies_in_their_own_words_and_those_for_comparison_by_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["add-concept", "--help"])
    text = words(capsys.readouterr().out)
    for name in strategies.recommended():
        assert f"{name}: {strategies.summary(name)}" in text
    assert f"For comparison, see docs/strategies.md: {', '.join(strategies.for_comparison())}." in text


def test_help_shows_the_options_of_every_recommended_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    def check(command: str) -> None:
        main([command, "--help"])
        text = words(capsys.readouterr().out)
        for name in strategies.recommended():
            for option, help_ in strategies.describe_options(name).items():
                assert f"{name}: {option}. {help_}" in text

    check_each(["add-concept", "add-lora"], check)


def test_help_shows_the_defaults_of_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    main(["add-concept", "--help"])
    text = words(capsys.readouterr().out)
    defaults = {
        "strategy": Settings().strategy, "keep": 1, "seed": 0, "weight-decay": 0.0001,
        "guidance": "as suits the model", "sample-steps": "as suits the model",
        "rank": "as suits the model", "learning-rate": "as suits the model", "steps": "by the preset",
        "alpha": "the rank", "sample-prompt": "one that is no training caption",
    }  # fmt: skip

    def check(option: str) -> None:
        described = text.split(f" --{option} ", 1)[1]
        assert described.split("[default: ", 1)[1].startswith(f"{defaults[option]}]")

    check_each(defaults, check)


def test_defaults_that_are_spelled_in_commands_are_the_engines() -> None:
    for command, source, own in (
        ("add-concept", Pictures, {"skip_bad", "convert"}),
        ("add-lora", Lora, {"weight"}),
    ):
        assert spelled(command, Request) >= {"project", "keep"}
        assert spelled(command, source) >= own
    drawn = {"count", "guidance", "negative", "seed", "size", "steps", "clip_skip", "max_token_length"}
    assert spelled("generate", GenerateRequest) == drawn


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


def test_wrong_call_is_refused_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def check(name: str) -> None:
        code, printed = main(WRONG_CALLS[name]), capsys.readouterr()
        assert (code, printed.out) == (2, "")
        assert printed.err.startswith("error: ")
        assert "Traceback" not in printed.err
        assert list(tmp_path.iterdir()) == []

    check_each(WRONG_CALLS, check)


def test_wrong_call_is_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    def check(name: str) -> None:
        code, printed = main([*WRONG_CALLS[name], "--json"]), capsys.readouterr().out
        error = json.loads(printed)["error"]
        assert (code, error["exit_code"]) == (2, 2)
        assert error["message"]

    check_each(WRONG_CALLS, check)


HINTS = [
    (["add-concpet"], "add-concept"),
    (["add-concept", "--stps", "5", "x"], "--steps"),
    (["add-concept", "--strategy", "msak", "x"], "did you mean 'mask'?"),
    (["add-concept", "--strategy-option", "mode=papr", "--strategy", "orthogonal", "x"], "'paper'"),
    (["add-concept", "--strategy-option", "mod=paper", "--strategy", "orthogonal", "x"], "'mode'"),
    (["add-concept", "--strategy-option", "mode=paper", "x"], "'distill' has no option 'mode'"),
    (["add-lora", "--strategy-option", "mode=papr", "--strategy", "orthogonal", "x"], "'paper'"),
    (["add-concept", "--targets", "attenton", "x"], "did you mean 'attention'?"),
    (["add-concept"], "name a folder: clora add-concept ./dog_images"),
]


def test_message_about_a_wrong_word_has_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    def check(case: tuple[list[str], str]) -> None:
        arguments, hint = case
        main(arguments)
        assert hint in capsys.readouterr().err

    check_each(HINTS, check)


def test_all_wrong_settings_are_listed_together(capsys: pytest.CaptureFixture[str]) -> None:
    main(["add-concept", "--strategy", "msak", "--steps", "0", "--rank", "-1", "x"])
    printed = capsys.readouterr().err
    assert all(name in printed for name in ("msak", "steps", "rank"))
    own = ["--strategy-option", "mode=papr", "--strategy-option", "depth=3"]
    main(["add-concept", "--strategy", "orthogonal", *own, "--preview-every", "-1", "x"])
    printed = capsys.readouterr().err
    assert all(name in printed for name in ("papr", "'depth'", "preview-every"))


NEED_A_PROJECT = [["status"], ["undo"], ["export", "x.safetensors"], ["generate", "-p", "x"]]


def test_missing_project_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def check(arguments: list[str]) -> None:
        code, printed = main(arguments), capsys.readouterr().err
        assert code == 1
        assert printed.startswith("error: ")
        assert "clora-model" in printed

    check_each(NEED_A_PROJECT, check)


CALL = "from clora_ext.cli.app import main; raise SystemExit(main())"


def test_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CALL, "inspect", "missing.safetensors"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 1
    assert "\x1b[3" not in done.stderr
