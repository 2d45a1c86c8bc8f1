"""How a concept that was learned is drawn: as on its contact sheet."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from clora_ext.config.settings import PromptSettings, SamplingSettings, Settings
from clora_ext.project import ConceptRecord, Project
from clora_ext.prompts.untrained import untrained_prompt

from .contact_sheet import read_sheet_metadata
from .samples import SamplePrompt

if TYPE_CHECKING:
    from clora_ext.families.base import Family
    from clora_ext.formats.header import Header

__all__ = ["recorded_prompt", "recorded_reading", "recorded_samples", "recorded_sampling"]


def recorded_prompt(record: ConceptRecord) -> str:
    """A prompt that draws a concept that was learned and is none of its captions."""
    captions = [image.caption for image in record.images]
    return untrained_prompt(f"{record.token} {record.class_name}", captions)


def recorded_samples(
    project: Project, record: ConceptRecord, family: "Family", header: "Header"
) -> SamplePrompt:
    """The prompt, size and settings of the concept's contact sheet; what is not recorded, as usual."""
    metadata = read_sheet_metadata(project.sheets_dir / (record.sheet or "none"))
    size = record.setting("resolution") or family.resolution(header)
    size -= size % family.size_multiple(header)
    prompt = metadata.prompt if metadata else recorded_prompt(record)
    return SamplePrompt(prompt, size, recorded_sampling(record), recorded_reading(record))


def recorded_sampling(record: ConceptRecord) -> SamplingSettings:
    """How the concept's contact sheet was sampled; what is not recorded, or not usable, as usual."""
    return _with_recorded(record, "sampling").sampling.of_sheet


def recorded_reading(record: ConceptRecord) -> PromptSettings:
    """How the concept's texts are read; what is not recorded, or not usable, as usual."""
    return _with_recorded(record, "prompts").prompts


def _with_recorded(record: ConceptRecord, group: str) -> Settings:
    """The defaults, but for one group of settings as it was recorded."""
    usual, recorded = Settings(), record.settings.get(group)
    if not isinstance(recorded, Mapping):
        return usual
    known = {name: value for name, value in recorded.items() if hasattr(getattr(usual, group), name)}
    wished = usual.with_values(**known)
    return usual if wished.problems() else wished
