"""Settings with everything counted in steps: epochs, and shares of the whole."""

from clora_ext.config.settings import Settings
from clora_ext.errors import SettingsError

__all__ = ["counted_in_steps"]


def counted_in_steps(settings: Settings, epoch: int, *, validated: bool = False) -> Settings:
    """The settings with epochs and shares turned into numbers of steps.

    Args:
        settings: as asked for.
        epoch: steps that it takes to show every picture with its repeats.
        validated: whether anything is held out.

    Raises:
        SettingsError: what the learning rate is to do does not fit into the steps.
    """
    if settings.schedule.epochs is not None:
        settings = settings.with_values(steps=settings.schedule.epochs * epoch)
    settings = _with_previews(_with_shares(settings), epoch, validated=validated)
    problems = settings.rate_problems()
    if problems:
        raise SettingsError(problems)
    return settings


def _with_shares(settings: Settings) -> Settings:
    """Warm-up and decay; rounded down, as sd-scripts does."""
    steps, rate = settings.schedule.steps, settings.rate
    if rate.warmup_share:
        settings = settings.with_values(warmup_steps=int(rate.warmup_share * steps))
    if rate.lr_decay_share:
        settings = settings.with_values(lr_decay_steps=int(rate.lr_decay_share * steps))
    return settings


def _with_previews(settings: Settings, epoch: int, *, validated: bool) -> Settings:
    """Previews and validation."""
    between = settings.sampling.preview_every_epochs
    if between and not settings.sampling.preview_every:
        settings = settings.with_values(preview_every=between * epoch)
    if validated and not settings.sampling.validate_every:
        by_epochs = settings.sampling.validate_every_epochs * epoch
        settings = settings.with_values(validate_every=by_epochs or max(1, settings.schedule.steps // 10))
    return settings
