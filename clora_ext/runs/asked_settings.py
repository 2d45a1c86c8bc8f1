"""The settings that a user asks for: what suits the model, but for what is said."""

from collections.abc import Mapping
from typing import Any

from clora_ext.config.presets import at_preset
from clora_ext.config.settings import Settings

__all__ = ["asked_settings", "with_scorer"]

_SCORED_SAMPLES = 4


def asked_settings(
    suitable: Settings, preset: str = "balanced", given: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of a preset, but for what is given.

    Args:
        suitable: what suits the model; see :func:`clora_ext.runs.suggested.suggested_settings`.
        preset: its name.
        given: settings by name, the strategy's among them.

    Raises:
        UsageError: there is no such preset or setting.
    """
    return at_preset(suitable, preset).with_values(**(given or {}))


def with_scorer(scorer: str | None, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that are given, with as many samples as a scorer needs to tell one row from another.

    Args:
        scorer: its name; None: no other than the demo model's, which draws its own.
        given: settings by name; a number of samples among them stands.

    >>> with_scorer("dinov2:folder", {"steps": 9}), with_scorer(None, {})
    ({'sample_count': 4, 'steps': 9}, {})
    """
    return given if scorer is None else {"sample_count": _SCORED_SAMPLES, **given}
