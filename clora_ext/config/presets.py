"""How a model is taught, by a word for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clora_ext.errors import UsageError, did_you_mean

from .settings import Settings

__all__ = ["PRESETS", "Preset", "at_preset", "preset_summaries"]

_DEFAULTS = "the demo model alone (README); not SD 1.5 or SDXL"


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings under one name.

    Attributes:
        summary: what it does, in a few words.
        measured: on which model its learning was measured.
        steps: share of the steps that suit the model, unless ``values`` name a number.
        values: settings by name; all others are those that suit the model.
    """

    summary: str
    measured: str
    steps: float = 1.0
    values: Mapping[str, Any] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = {
    "fast": Preset("half of the steps that suit the model", "nothing", steps=0.5),
    "balanced": Preset("what suits the model", _DEFAULTS),
    "thorough": Preset("twice the steps that suit the model", "nothing", steps=2.0),
    "paper": Preset(
        "as arXiv 2410.04891 teaches SDXL: rank 64, rate 1e-5, attention, 850 steps of one picture",
        "SDXL, by the paper's authors with their own code; nothing with clora",
        values={"rank": 64, "learning_rate": 1e-5, "targets": "attention", "batch_size": 1, "steps": 850},
    ),
    "artist": Preset(
        "as most LoRA trainers begin: rank 16, rate 1e-4, all transformer layers, one picture a step",
        "nothing",
        values={"rank": 16, "learning_rate": 1e-4, "targets": "transformer", "batch_size": 1},
    ),
}
"""By name; ``balanced`` is the usual one."""


def at_preset(settings: Settings, preset: str) -> Settings:
    """The settings that suit a model, changed as the preset says.

    Args:
        settings: that suit the model.
        preset: its name.

    Raises:
        UsageError: there is no such preset; the remedy is the nearest.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}", fix=did_you_mean(preset, tuple(PRESETS)))
    chosen = PRESETS[preset]
    steps = max(1, round(settings.schedule.steps * chosen.steps))
    return settings.with_values(**{"steps": steps, **chosen.values})


def preset_summaries() -> str:
    """All of them in one line for people."""
    return "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items()) + "."
