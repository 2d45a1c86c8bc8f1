"""The forgetting report: samples of every concept from when it was learned, and by every later model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext import families
from clora_ext.errors import writing
from clora_ext.events import Sink, Stage, ignore
from clora_ext.project import ConceptRecord, Project
from clora_ext.project.base import recorded_statements
from clora_ext.project.concept_files import read_outcome_of
from clora_ext.project.outcome import Kept

from .recorded import recorded_samples

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.model import Model

    from .contact_sheet import SheetMetadata

__all__ = ["ForgettingRow", "forgetting_grid", "forgetting_report"]


@dataclass(frozen=True, slots=True)
class ForgettingRow:
    """One concept over the versions of the model.

    Attributes:
        number: of the concept.
        trigger: the words that call it.
        samples: by the same prompt with the same noise, by how many concepts the model had learned: when the
            concept was learned (if its contact sheet is there), at every later version that was reported, and
            now.
        changes: for every later version, the mean absolute difference from the first sample, 0 (none) to 1;
            empty if there is no sample from when it was learned.
        weight: what the concept's change counts in the model now; 1: as it was taught; 0: it is removed,
            and the model as it is now was not asked for it.
        kept: what a scorer has told of later versions.
    """

    number: int
    trigger: str
    samples: "Mapping[int, Image]"
    changes: Mapping[int, float]
    weight: float = 1.0
    kept: Mapping[int, Kept] = field(default_factory=dict)


def forgetting_report(project: Path, sink: Sink = ignore) -> list[ForgettingRow]:
    """Every concept of a project over the versions of its model.

    The current model's samples are kept beside the contact sheets, so that later reports show them too and
    need not sample again. A picture that has changed is not necessarily one that was forgotten: look at it.
    One that has not changed is remembered. Where a scorer was asked when later concepts were learned, its
    shares tell more.

    Raises:
        CloraError: the project or its model cannot be used, or the disk is full.
    """
    opened = Project.open(project)
    sampler = _Sampler(opened)
    taught = (record for record in opened.concepts if record.reweighting is None)
    return [_row(opened, record, sampler, sink) for record in taught]


def forgetting_grid(found: Sequence[ForgettingRow]) -> "Image":
    """A row for each concept, a column for each version of the model."""
    from .contact_sheet import grid

    versions = range(1, max(version for row in found for version in row.samples) + 1)
    side = max(sample.width for row in found for sample in row.samples.values())
    rows = {
        f"{row.number} {row.trigger}": [row.samples.get(version) for version in versions] for row in found
    }
    return grid([f"after {version}" for version in versions], rows, side)


class _Sampler:
    """Samples with the project's model, which is loaded when it is first needed."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._checkpoint = project.model_place().open(*recorded_statements(project.base))
        self._family = families.detect(self._checkpoint.header, self._checkpoint.path)

    @cached_property
    def _model(self) -> "Model":
        from clora_ext.config.precision import pick_precision

        return self._family.load(self._checkpoint, pick_precision())

    def sample(self, record: ConceptRecord) -> "Image":
        """A picture as it lies in the concept's contact sheet: of that size, sampled in that way."""
        from .contact_sheet import fitted

        samples = recorded_samples(self._project, record, self._family, self._checkpoint.header)
        return fitted(samples.sample_one(self._model), samples.size)


def _row(project: Project, record: ConceptRecord, sampler: _Sampler, sink: Sink) -> ForgettingRow:
    """One concept."""
    from .contact_sheet import read_sheet_metadata

    trigger = f"{record.token} {record.class_name}"
    sheet = project.sheets_dir / (record.sheet or "none")
    metadata = read_sheet_metadata(sheet)
    samples = dict(_kept_samples(project, record, sheet, metadata))
    weight = project.weights[record.number]
    if project.number not in samples and weight:
        sink(Stage("sample", f"concept {record.number}"))
        sample = sampler.sample(record)
        target = project.later_sample(record.number, project.concepts[-1].content_hash)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            sample.save(target, format="PNG")
        samples[project.number] = sample
    kept = dict(_kept(project, record.number))
    return ForgettingRow(record.number, trigger, samples, _changes(record.number, samples), weight, kept)


def _kept_samples(
    project: Project, record: ConceptRecord, sheet: Path, metadata: "SheetMetadata | None"
) -> "Iterator[tuple[int, Image]]":
    """The samples on the disk, each with the version of the model that made it."""
    from .contact_sheet import read_picture, read_sample

    for after in project.concepts[record.number - 1 :]:
        learned_now = metadata is not None and after.number == record.number
        sample = read_sample(sheet) if learned_now else None
        sample = sample or read_picture(project.later_sample(record.number, after.content_hash))
        if sample is not None:
            yield after.number, sample


def _kept(project: Project, number: int) -> Iterator[tuple[int, Kept]]:
    """What was told of the concept after every later one."""
    for after in project.concepts[number:]:
        outcome = read_outcome_of(project.folder, after)
        yield from ((after.number, one) for one in (outcome.kept if outcome else ()) if one.number == number)


def _changes(number: int, samples: "Mapping[int, Image]") -> dict[int, float]:
    """How far later samples are from the first."""
    from PIL import ImageChops, ImageStat

    first = samples.get(number)
    if first is None:
        return {}
    return {
        version: sum(ImageStat.Stat(ImageChops.difference(first, sample)).mean) / (3 * 255)
        for version, sample in samples.items()
        if version != number and sample.size == first.size
    }
