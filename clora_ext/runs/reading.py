"""How a run's texts are read: what the model makes of the wish, and what is said of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from clora_ext.config.settings import PromptSettings, Settings

from .context import ProjectContext

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["reading_notes", "with_readable_prompts"]


def with_readable_prompts(settings: Settings, context: ProjectContext) -> Settings:
    """The settings as the model can follow them.

    Raises:
        UsageError: its text encoder has no such layer.
    """
    return replace(settings, prompts=context.family.readable(context.header, settings.prompts))


def reading_notes(plan: "Plan") -> Iterator[str]:
    """What a user should know about how texts are read."""
    context, now = plan.context, plan.settings.prompts
    asked = now if plan.request.settings is None else plan.request.settings.prompts
    if asked.clip_skip != now.clip_skip:
        yield f"clip-skip {asked.clip_skip} has no effect: {context.family.title} has one layer that is read"
    if context.used_tokens and now != context.reading:
        yield (
            f"texts are read with {_words(now)}, those of the concept before with {_words(context.reading)}: "
            "other programs read all of a model's prompts in one way"
        )


def _words(prompts: PromptSettings) -> str:
    return f"clip-skip {prompts.clip_skip} and max-token-length {prompts.max_token_length}"
