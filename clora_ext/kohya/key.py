"""The table of sd-scripts' keys: the only place that knows their names and what clora does with each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

__all__ = ["Key", "Kind", "Scope", "dataset_keys", "keys", "training_keys"]

Kind = Literal[
    "flag",
    "whole",
    "number",
    "numbers",
    "text",
    "texts",
    "path",
    "ending",
    "pairs",
    "sides",
    "sides in text",
    "steps",
    "table",
    "anything",
]
"""What a key holds.

``numbers``: one or several; ``ending``: of file names; ``pairs``: texts ``name=value``; ``sides``: one side
of a square, or width and height, pixels, as numbers or in text; ``steps``: a whole number, or a share of
all.
"""

Scope = Literal["general", "datasets", "subsets"]
"""The tables of a dataset file."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        name: as sd-scripts spells it.
        file: ``train`` and ``dataset`` are sd-scripts' own; ``foreign`` stands in training files that other
            programs wrote, and sd-scripts does not read it.
        kind: of its values.
        verdict: ``honour``: it does here what it does there; ``note``: it changes nothing, and why is told;
            ``refuse``: clora does not do that; ``later``: likewise, but it is going to.
        says: what clora does, in the words of a message.
        default: what sd-scripts takes where no file says anything.
        scopes: tables of a dataset file that may hold it.
        choices: the only values that there are.
        any_case: whether upper and lower case mean the same.
        min: smallest number.
        max: largest number.
        above: numbers are larger than this one.
        neutral: values that ask for nothing; they pass whatever the verdict.
        becomes: clora's name for it; empty: it has none.
    """

    name: str
    file: Literal["train", "dataset", "foreign"]
    kind: Kind
    verdict: Literal["honour", "note", "refuse", "later"]
    says: str
    default: Any = None
    scopes: tuple[Scope, ...] = ()
    choices: tuple[Any, ...] = ()
    any_case: bool = False
    min: float | None = None
    max: float | None = None
    above: float | None = None
    neutral: tuple[Any, ...] = ()
    becomes: str = ""

    def is_neutral(self, value: object) -> bool:
        """Whether a value asks for nothing; ``false`` and ``0`` are two values."""
        return any(_same(value, one) for one in self.neutral)


def _same(value: object, other: object) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


@cache
def keys() -> tuple[Key, ...]:
    """The table, in its order."""
    rows: list[dict[str, Any]] = json.loads(Path(__file__).with_name("keys.json").read_text(encoding="utf-8"))
    for row in rows:
        row.update({name: tuple(row[name]) for name in ("scopes", "choices", "neutral") if name in row})
    return tuple(Key(**row) for row in rows)


@cache
def training_keys() -> Mapping[str, Key]:
    """What may stand in a training file, other programs' keys among it, by name."""
    return {key.name: key for key in keys() if key.file != "dataset"}


@cache
def dataset_keys() -> Mapping[str, Key]:
    """What may stand in a dataset file, by name."""
    return {key.name: key for key in keys() if key.file == "dataset"}
