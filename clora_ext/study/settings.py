"""How one lesson of a study is taught: the model's defaults, the study's settings, the strategy's own."""

from collections.abc import Mapping
from typing import Any

from clora_ext.config.settings import Settings
from clora_ext.errors import CloraError, SettingsError
from clora_ext.runs.asked_settings import asked_settings
from clora_ext.runs.checked_settings import checked_settings

from .base import StudyBase
from .file import StrategyEntry, StudyFile

__all__ = ["settings_of"]

# A study draws and scores for itself: contact sheets, and what a run tells of
# earlier concepts, would only take time.
_SHEET = {"sample_count": 1, "sample_steps": 2, "kept_count": 0}


def settings_of(
    study: StudyFile,
    base: StudyBase,
    entry: StrategyEntry,
    strategy: str,
    options: Mapping[str, Any],
    seed: int,
) -> Settings:
    """The settings of a lesson.

    Args:
        study: whose settings hold for all strategies.
        base: whose family suggests the rest.
        entry: whose settings hold for this strategy alone.
        strategy: that teaches.
        options: its own.
        seed: of the training.

    Raises:
        SettingsError: unknown knobs and options, and values that do not fit.
    """
    suggested = Settings.of(**base.family.suggested_settings(base.header))
    wished: dict[str, Any] = {**_SHEET, **study.settings, **entry.settings}
    wished |= {"strategy": strategy, "strategy_options": dict(options), "seed": seed}
    try:
        return checked_settings(asked_settings(suggested, given=wished))
    except SettingsError as error:
        raise SettingsError([f"{entry.title}: {problem}" for problem in error.problems]) from error
    except CloraError as error:
        raise SettingsError([f"{entry.title}: {error.message}; {error.fix}"]) from error
