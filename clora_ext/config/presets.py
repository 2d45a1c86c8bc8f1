"""How long a model is taught, by a word for people."""

from collections.abc import Mapping

from clora_ext.errors import UsageError, did_you_mean

from .settings import Settings

__all__ = ["PRESETS", "at_preset"]

PRESETS: Mapping[str, float] = {"fast": 0.5, "balanced": 1.0, "thorough": 2.0}
"""Share of the steps that suit a model."""


def at_preset(settings: Settings, preset: str) -> Settings:
    """The same settings with fewer or more steps.

    Raises:
        UsageError: there is no such preset; the remedy is the nearest.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}", fix=did_you_mean(preset, tuple(PRESETS)))
    return settings.with_values(steps=max(1, round(settings.schedule.steps * PRESETS[preset])))
