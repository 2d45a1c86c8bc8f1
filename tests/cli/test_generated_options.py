# ruff: noqa: TID251 - the rule keeps the engine from the command line; these are its own tests
"""A knob of the settings is an option of the command, with nothing else to write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from annotated_types import Ge
from calling import call, main
from clora_ext.cli.knobs import given_values, with_knobs
from PIL import Image

from clora_ext import Settings
from clora_ext.config.knob import Knob
from clora_ext.config.knob_fields import knob_fields


@dataclass(frozen=True)
class MoreSettings(Settings):
    """Today's settings and what a later version might add."""

    label_dropout: Annotated[float, Ge(0), Knob("Share of captions that are left out.")] = 0.0
    schedule_shape: Annotated[
        Literal["flat", "cosine"] | None, Knob("Of the learning rate.", suits_model=True)
    ] = None
    shuffle: Annotated[bool, Knob("Draw pictures in random order.")] = True


def more() -> tuple[typer.Typer, list[dict[str, Any]]]:
    """A command with these settings, and what it was called with."""
    app, seen = typer.Typer(), []

    @app.command()
    @with_knobs(MoreSettings, after="name")
    def teach(name: str, *, last: bool = False, **knobs: object) -> None:
        seen.append({"name": name, "last": last, **given_values(knobs)})

    return app, seen


def test_a_new_knob_is_an_option_by_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    app, seen = more()
    app(["--help"], standalone_mode=False)
    text = capsys.readouterr().out
    assert "Share of captions that are left out. [default: 0.0]" in text
    assert "flat|cosine" in text
    assert "Of the learning rate. [default: (as suits the model)]" in text
    app(["x", "--label-dropout", "0.1", "--rank", "3"], standalone_mode=False)
    app(["y", "--no-shuffle", "--schedule-shape", "cosine", "--last"], standalone_mode=False)
    first, second = seen
    assert (first["name"], first["label_dropout"], first["rank"], first["shuffle"]) == ("x", 0.1, 3, True)
    assert {"steps", "learning_rate", "schedule_shape"} & set(first) == set()
    assert (second["shuffle"], second["schedule_shape"], second["last"]) == (False, "cosine", True)


def test_every_knob_is_an_option_with_its_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    main(["add-concept", "--help"])
    lines = capsys.readouterr().out.splitlines()
    for knob in knob_fields(Settings).values():
        (line,) = [line for line in lines if line.startswith(f"  --{knob.option} ")]
        assert knob.knob.help in line


def test_options_arrive_in_the_settings(tmp_path: Path) -> None:
    folder = tmp_path / "dog_images"
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / "0.png")
    done = call(
        "add-concept", "--project", tmp_path / "project", "--dry-run", "--json", "--preset", "fast",
        "--strategy", "orthogonal", "--strategy-option", "mode=paper", "--alpha", "2", "--text-encoder",
        "--targets", "attention", "--weight-decay", "0.5", "--warmup-steps", "3", "--guidance", "1.5",
        "--sample-prompt", "a dog", folder,
    )  # fmt: skip
    assert done.code == 0, done.err
    settings = done.json[-1]["result"]["plan"]["settings"]
    assert settings["strategy_options"] == {"mode": "paper"}
    assert settings["adapter"] == {"rank": 8, "alpha": 2.0, "targets": "attention", "text_encoder": True}
    assert settings["optimizer"]["weight_decay"] == 0.5
    assert settings["schedule"] == {"steps": 100, "epochs": None, "warmup_steps": 3}
    assert (settings["sampling"]["guidance"], settings["sampling"]["sample_prompt"]) == (1.5, "a dog")
