"""Everything that the page tells of a project, gathered from its files."""

import io
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clora_ext.project import Base, ConceptRecord, Project
from clora_ext.project.concept_files import concept_files, read_outcome_of
from clora_ext.project.outcome import Kept, Outcome
from clora_ext.sampling.contact_sheet import read_sheet_metadata
from clora_ext.sampling.forgetting import ForgettingRow
from clora_ext.training.curve import read_curve, training_seconds

from .chart import Chart, chart

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Contents", "Drawing", "Section", "contents"]

_LARGEST_DRAWING = 256


@dataclass(frozen=True, slots=True)
class Drawing:
    """A concept by one version of the model.

    Attributes:
        version: how many steps had led to that model.
        url: the picture itself, as a data URL.
        change: mean absolute difference from the first drawing, 0 to 1; None: it is the first.
        kept: what a scorer has told of this version; None: nothing.
    """

    version: int
    url: str
    change: float | None
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class Section:
    """One concept.

    Attributes:
        record: what the project has recorded.
        prompt: that the drawings were made by; empty: not recorded.
        drawings: by version.
        outcome: what was measured when it was learned.
        chart: of the loss; None: nothing was trained, or it is not recorded.
        seconds: that the training took; None: not recorded.
        settings: by their names.
        weight: what its change counts in the model; 1: as it was taught, 0: it is removed.
    """

    record: ConceptRecord
    prompt: str
    drawings: Sequence[Drawing]
    outcome: Outcome | None
    chart: Chart | None
    seconds: float | None
    settings: Mapping[str, object]
    weight: float

    @property
    def by_version(self) -> Mapping[int, Drawing]:
        """The drawings, by how many steps had led to their models."""
        return {drawing.version: drawing for drawing in self.drawings}

    @property
    def trigger(self) -> str:
        """Token and class."""
        return self.record.trigger

    @property
    def state(self) -> str:
        """What has become of it since it was learned; empty: nothing."""
        return "" if self.weight == 1 else f"weight {self.weight:g}" if self.weight else "removed"

    @property
    def captions(self) -> list[str]:
        """What it was trained with, each once."""
        return list(dict.fromkeys(image.caption for image in self.record.images))


@dataclass(frozen=True, slots=True)
class Contents:
    """All of the page.

    Attributes:
        name: of the project's folder.
        base: what it started from; None: nothing yet.
        content_hash: of the model as it is now; None: nothing was learned.
        number: how many steps have led to it.
        sections: the concepts, the first first.
        version: of clora.
    """

    name: str
    base: Base | None
    content_hash: str | None
    number: int
    sections: Sequence[Section]
    version: str

    @property
    def steps(self) -> Sequence[tuple[int, Section | None]]:
        """Every version of the model, with the concept that it learned; None: one was weighed anew."""
        by_number = {section.record.number: section for section in self.sections}
        return [(number, by_number.get(number)) for number in range(1, self.number + 1)]


def contents(project: Project, rows: Sequence[ForgettingRow], version: str) -> Contents:
    """Gather it; ``rows``: the forgetting report, a row a concept."""
    taught = [record for record in project.concepts if record.reweighting is None]
    sections = [_section(project, *pair) for pair in zip(taught, rows, strict=True)]
    current = project.current
    name = project.folder.absolute().name
    return Contents(
        name, project.base, current.content_hash if current else None, project.number, sections, version
    )


def _section(project: Project, record: ConceptRecord, row: ForgettingRow) -> Section:
    files = concept_files(project.folder, record.number, record.token, record.class_name)
    metadata, points = read_sheet_metadata(files.sheet), read_curve(files.curve)
    losses = [point.loss for point in points] or (metadata.losses if metadata else ())
    return Section(
        record=record,
        prompt=metadata.prompt if metadata else "",
        drawings=list(_drawings(row)),
        outcome=read_outcome_of(project.folder, record),
        chart=chart(losses, record.setting("steps")),
        seconds=training_seconds(points),
        settings=dict(_settings(record.settings)),
        weight=row.weight,
    )


def _drawings(row: ForgettingRow) -> Iterator[Drawing]:
    for version, sample in sorted(row.samples.items()):
        yield Drawing(version, _data_url(sample), row.changes.get(version), row.kept.get(version))


def _data_url(image: "Image") -> str:
    small = image.copy()
    small.thumbnail((_LARGEST_DRAWING, _LARGEST_DRAWING))
    written = io.BytesIO()
    small.save(written, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(written.getvalue()).decode('ascii')}"


def _settings(recorded: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Every setting by its own name, out of its group; what is empty is left out."""
    for name, value in recorded.items():
        if isinstance(value, Mapping):
            yield from ((inner, one) for inner, one in value.items() if one is not None)
        elif value is not None:
            yield name, value
