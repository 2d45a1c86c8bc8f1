"""A strategy's options are the fields of its dataclass, typed by it."""

import json
import sys
from pathlib import Path

import pytest
from strategy_files import add_strategy

from clora_ext import Settings, strategies
from clora_ext.errors import SettingsError, UsageError
from clora_ext.runs.checked_settings import checked_settings

FADING = '''"""Let the past fade: a strategy that exists in this test only."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from clora_ext.config.knob import Knob

from .merge import Merge


@dataclass(frozen=True)
class Fading(Merge):
    strength: Annotated[float, Ge(0), Le(1), Knob("Share of the past that stays.")] = 1.0
    depth: Annotated[int | None, Knob("How far.")] = None
    shape: Annotated[Literal["linear", "cosine"], Knob("How it fades.")] = "linear"
    gently: Annotated[bool, Knob("Little by little.")] = False
    rowwise: ClassVar[bool] = True


STRATEGY = Fading
'''


@pytest.fixture
def fading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A strategy with options of many types."""
    return add_strategy("fading", FADING, tmp_path, monkeypatch)


def test_options_are_typed_by_the_strategys_own_fields(fading: str) -> None:
    given = {"strength": "0.5", "depth": "3", "shape": "cosine", "gently": "true"}
    strategy = strategies.load(fading, given)
    assert strategy.strength * 2 == 1.0  # type: ignore[attr-defined]
    typed = strategies.typed_options(fading, given)
    assert typed == {"strength": 0.5, "depth": 3, "shape": "cosine", "gently": True}
    assert [type(value) for value in typed.values()] == [float, int, str, bool]
    assert json.loads(json.dumps(typed)) == typed
    assert strategies.typed_options(fading, typed) == typed
    settings = checked_settings(Settings.of(strategy=fading, strategy_options={"strength": "0.5"}))
    assert settings.strategy_options == {"strength": 0.5}


def test_all_that_is_wrong_is_told_at_once(fading: str) -> None:
    with pytest.raises(SettingsError) as caught:
        strategies.load(fading, {"strength": "2", "shape": "cosin", "gentle": "no", "depth": "deep"})
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    for hint in ("strength must be at most 1", "did you mean 'cosine'?", "did you mean 'gently'?", "'deep'"):
        assert hint in told
    assert all(fading in problem for problem in caught.value.problems)


def test_options_are_described_without_running_the_strategy(fading: str) -> None:
    assert strategies.describe_options(fading) == {
        "strength": "Share of the past that stays. Default: 1.0.",
        "depth": "How far. Default: None.",
        "shape": "How it fades. Default: linear.",
        "gently": "Little by little. Default: False.",
    }
    assert f"clora_ext.strategies.{fading}" not in sys.modules


def test_the_description_is_what_the_strategy_itself_has() -> None:
    for name in strategies.names():
        assert strategies.describe_options(name) == {
            option: f"{field.knob.help} Default: {field.knob.default_text or field.default}."
            for option, field in strategies.option_fields(name).items()
        }
        assert all(field.knob.help.endswith(".") for field in strategies.option_fields(name).values())


def test_options_are_read_from_pairs() -> None:
    assert strategies.read_pairs(["mode=paper", "", " text = a = b "]) == {"mode": "paper", "text": "a = b"}
    for wrong in (["mode"], ["=paper"], ["mode=paper", "mode=row-space"]):
        with pytest.raises(UsageError) as caught:
            strategies.read_pairs(wrong)
        assert caught.value.fix


def test_an_unknown_strategy_is_told_with_the_nearest() -> None:
    for call in (strategies.typed_options, strategies.load):
        with pytest.raises(UsageError, match="'msak'") as caught:
            call("msak", {})
        assert "did you mean 'mask'?" in caught.value.fix


def test_strategies_for_comparison_say_so_themselves() -> None:
    assert set(strategies.recommended()) >= {"distill", "mask", "merge", "naive", "orthogonal"}
    assert set(strategies.for_comparison()) >= {"clora", "l2"}
    for name in strategies.names():
        assert strategies.load(name).for_comparison == (name in strategies.for_comparison())
