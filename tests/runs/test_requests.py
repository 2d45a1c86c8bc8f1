"""What may be asked for, and how: paths as text, and everything that is wrong at once."""

from pathlib import Path
from typing import Any

import pytest
from cases import check_each

from clora_ext import Lora, Pictures, Request, Settings, add_concept, make_plan
from clora_ext.config.strategy_names import strategy_names
from clora_ext.errors import SettingsError, UsageError
from clora_ext.project import Project


def test_paths_may_be_text(request_: Request) -> None:
    assert isinstance(request_.source, Pictures)
    folder: Any = str(request_.source.folder)
    project: Any = str(request_.project)
    base: Any = str(request_.base)
    asked = Request(folder, project, base, settings=request_.settings)
    assert asked == Request(Pictures(folder), project, base, settings=request_.settings) == request_
    assert make_plan(asked).fingerprint == make_plan(request_).fingerprint
    assert add_concept(asked).number == Project.open(project).number == 1


def test_the_name_of_a_safetensors_file_stands_for_a_lora(tmp_path: Path) -> None:
    file: Any = "some/where.SafeTensors"
    assert Request(file).source == Lora(Path(file)) == Lora(file)
    folder: Any = tmp_path / "dogs.safetensors"
    folder.mkdir()
    assert Request(folder).source == Pictures(folder)


def test_what_is_no_path_is_refused_when_it_is_asked_for() -> None:
    wrong: dict[str, Any] = {
        "a folder of pictures": lambda: Request(3),  # type: ignore[arg-type]
        "a project's folder": lambda: Request(Pictures(Path()), None),  # type: ignore[arg-type]
        "a model": lambda: Request(Pictures(Path()), base=1.5),  # type: ignore[arg-type]
        "a LoRA": lambda: Lora(b"x"),  # type: ignore[arg-type]
    }

    def check(what: str) -> None:
        with pytest.raises(UsageError, match=f"is no path of {what}"):
            wrong[what]()

    check_each(wrong, check)


def test_an_unknown_strategy_is_told_with_the_nearest_beside_all_else(request_: Request) -> None:
    problem = "unknown strategy 'msak'; did you mean 'mask'? Choose one of: " + ", ".join(strategy_names())
    assert Settings(strategy="msak").problems() == [problem]
    wrong = Request(request_.source, request_.project, settings=Settings.of(strategy="msak", rank=0), keep=-1)
    with pytest.raises(SettingsError) as caught:
        make_plan(wrong)
    assert caught.value.problems[:2] == (problem, "rank must be at least 1, not 0")
    assert caught.value.problems[2].startswith("keep must not be negative")
