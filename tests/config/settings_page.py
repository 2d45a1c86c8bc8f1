"""The page about settings, made from their fields: `python tests/config/settings_page.py` writes it anew."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from clora_ext import strategies
from clora_ext.config.knob_fields import KnobField, knob_fields
from clora_ext.config.presets import PRESETS
from clora_ext.config.settings import Settings

__all__ = ["PAGE", "settings_page"]

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

_INTRODUCTION = """# Settings

How a concept is taught and sampled. The command takes each setting as an option (`clora add-concept --rank
4`); the Python API by its name with underscores (`Settings.of(rank=4)`), and gives it back in the group that
the heading names (`settings.adapter.rank`). The ComfyUI node Clora Add Concept shows the ones that are needed
most.

A default that *suits the model* is the one that the model's family suggests; where it suggests none, it is
the value behind the semicolon.

This page is made from the settings' own fields by `tests/config/settings_page.py`.
"""
_STRATEGIES = """## Options of strategies

A strategy's own options are given by `--strategy-option NAME=VALUE`, once for each; in ComfyUI a line each in
`strategy_options`; in Python by `Settings(strategy="orthogonal", strategy_options={"mode": "paper"})`.
"""
_PRESETS = """## Presets

`clora add-concept --preset NAME`, in ComfyUI the choice `preset`, in Python
`clora_ext.config.presets.at_preset(settings, NAME)`: settings that belong together. A setting that is given
besides counts more. SDXL's own defaults are the paper's, but for what a preset says; how well they learn has
not been measured with clora.

| name | settings | learning measured on |
|---|---|---|
"""
_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_KINDS = {int: "whole number", float: "number", bool: "on or off", str: "text"}


def settings_page() -> str:
    """The page as Markdown."""
    parts = [_INTRODUCTION]
    for group, knobs in groupby(knob_fields(Settings).values(), key=lambda knob: knob.group):
        parts.append(f"## {group.capitalize() or 'General'}\n\n{_table(knobs, '--')}")
    rows = [f"| `{name}` | {one.summary} | {one.measured} |\n" for name, one in PRESETS.items()]
    parts.append(_PRESETS + "".join(rows))
    parts.append(_STRATEGIES)
    for name in strategies.names():
        fields = strategies.option_fields(name)
        options = _table(fields.values(), "") if fields else "It has no options.\n"
        parts.append(f"### {name}\n\n{strategies.summary(name)}\n\n{options}")
    return "\n".join(parts)


def _table(knobs: Iterable[KnobField], prefix: str) -> str:
    rows = ["| name | values | default | meaning |", "|---|---|---|---|"]
    for knob in knobs:
        name = knob.option if prefix else knob.name
        rows.append(f"| `{prefix}{name}` | {_values(knob)} | {_default(knob)} | {knob.knob.help} |")
    return "\n".join(rows) + "\n"


def _values(knob: KnobField) -> str:
    if knob.choices:
        return ", ".join(f"`{choice}`" for choice in knob.choices)
    limits = [
        f"{words} {_number(knob.bounds[name])}" for name, words in _LIMITS.items() if name in knob.bounds
    ]
    return ", ".join([_KINDS.get(knob.kind, str(knob.kind)), *limits])


def _default(knob: KnobField) -> str:
    """In words where the value depends on something; both where a model may suggest another."""
    words, value = knob.default_words, _value(knob.default)
    if not words or knob.default is None:
        return words or value
    return f"{words}; {value}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value}`" if isinstance(value, str) else _number(value)


def _number(value: object) -> str:
    return "2^63" if value == 2**63 else f"{value}"


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
