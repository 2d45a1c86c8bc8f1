"""Settings that suit a model, as far as its header, its name and what it has learned tell."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from clora_ext import families
from clora_ext.config.settings import PromptSettings, Settings
from clora_ext.families.base import Family
from clora_ext.families.hub import DEMO_MODEL, find_base
from clora_ext.families.variant import ToldVariant, tell_variant
from clora_ext.formats.header import Header
from clora_ext.formats.models import model_header
from clora_ext.formats.statements import Statement
from clora_ext.project import Project
from clora_ext.project.base import recorded_statements
from clora_ext.sampling.recorded import recorded_reading

__all__ = ["reading_of", "suggested_settings", "suited"]


def suggested_settings(project: Path, base: Path | None = None, said: Sequence[Statement] = ()) -> Settings:
    """Settings that suit a project's model; reads one header.

    Args:
        project: the project, which need not exist yet.
        base: what a new project starts from, or where a project's base lies now; None: the demo model, or
            where it was.
        said: what the user says of the base.

    Raises:
        CheckpointError: the base cannot be used.
        ProjectError: the project cannot be read, or its base is gone.
        UsageError: there is no such variant.
    """
    opened = Project.open(project) if Project.exists(project) else None
    recorded = None if opened is None else opened.base
    file = DEMO_MODEL if recorded is None else recorded.locate()
    if base is not None:
        file = find_base(base)
    header = model_header(file, *said, *recorded_statements(recorded))
    family = families.detect(header, file)
    told = tell_variant(family.title, family.variants, file, header)
    return suited(family, header, told, reading_of(opened))


def suited(family: Family, header: Header, variant: ToldVariant | None, reading: PromptSettings) -> Settings:
    """What suits the family, and before it the variant; texts are read as they have been."""
    own = {} if variant is None else variant.variant.suggested
    return Settings.of(**{**family.suggested_settings(header), **own}, **asdict(reading))


def reading_of(project: Project | None) -> PromptSettings:
    """How texts of the last concept are read: a model is asked in one way for all of them."""
    records = [] if project is None else [one for one in project.held if "prompts" in one.settings]
    return recorded_reading(records[-1]) if records else PromptSettings()
