"""What a shell is told when the user presses Tab. Typer wants the arguments to be called so."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from clora_ext import strategies
from clora_ext.config.presets import PRESETS
from clora_ext.errors import CloraError
from clora_ext.formats.installed import Kind, installed_names

if TYPE_CHECKING:
    from clora_ext.project import Project

__all__ = ["bases", "kept_tokens", "loras", "presets", "strategy_names", "strategy_options", "tokens"]

_PROGRAMS = ("comfyui", "a1111")


def strategy_names(incomplete: str) -> Iterator[tuple[str, str]]:
    """Every strategy with what it is."""
    return ((name, strategies.summary(name)) for name in strategies.names() if name.startswith(incomplete))


def presets(incomplete: str) -> Iterator[tuple[str, str]]:
    """Every preset with what it does."""
    return ((name, preset.summary) for name, preset in PRESETS.items() if name.startswith(incomplete))


def strategy_options(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The options of the strategy that the line names, and the values of the one that has been typed."""
    strategy = ctx.params.get("strategy") or ""
    if strategy not in strategies.names():
        return []
    name, sign, _ = incomplete.partition("=")
    if not sign:
        described = strategies.describe_options(strategy)
        return [(f"{one}=", help_) for one, help_ in described.items() if one.startswith(incomplete)]
    field = strategies.option_fields(strategy).get(name)
    choices = () if field is None else ("true", "false") if field.kind is bool else field.choices
    return [(f"{name}={value}", "") for value in choices if f"{name}={value}".startswith(incomplete)]


def tokens(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The trigger words of the project that the line names."""
    project = _project(ctx)
    concepts = () if project is None else project.held
    return [(one.token, one.class_name) for one in concepts if one.token.startswith(incomplete)]


def kept_tokens(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Those of the concepts whose change was kept, removed ones too."""
    project = _project(ctx)
    concepts = () if project is None else project.concepts
    kept = [one for one in concepts if one.delta is not None and one.token.startswith(incomplete)]
    return list({one.token: (one.token, one.class_name) for one in kept}.values())


def _project(ctx: typer.Context) -> "Project | None":
    """That the line names, if there is one."""
    from clora_ext.project import Project

    from .options import DEFAULT_PROJECT

    try:
        return Project.open(Path(ctx.params.get("project") or DEFAULT_PROJECT))
    except CloraError:
        return None


def bases(incomplete: str) -> list[str]:
    """Checkpoints of installed programs; of files, the shell knows itself."""
    return list(_installed(incomplete, "checkpoint"))


def loras(incomplete: str) -> list[str]:
    """LoRAs of installed programs."""
    return list(_installed(incomplete, "LoRA"))


def _installed(incomplete: str, kind: Kind) -> Iterator[str]:
    for program in _PROGRAMS:
        begun = f"{program}:"
        if not incomplete or not (begun.startswith(incomplete) or incomplete.startswith(begun)):
            continue
        try:
            names = installed_names(program, kind)
        except CloraError:
            continue
        yield from (begun + name for name in names if f"{begun}{name}".startswith(incomplete))
