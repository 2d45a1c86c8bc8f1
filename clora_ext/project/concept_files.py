"""The files beside the manifest that tell of one concept: sheet, numbers, loss curve. None is needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .litter import CURVES, SHEETS
from .outcome import Outcome, read_outcome
from .records import ConceptRecord, file_stem

__all__ = ["ConceptFiles", "concept_files", "read_outcome_of"]


@dataclass(frozen=True, slots=True)
class ConceptFiles:
    """Where one concept's files lie; any of them may not exist.

    Attributes:
        sheet: PNG of what was drawn before and after.
        outcome: JSON of what was measured.
        curve: CSV with every step's loss.
        plot: PNG of the curve.
    """

    sheet: Path
    outcome: Path
    curve: Path
    plot: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """Each of them."""
        return self.sheet, self.outcome, self.curve, self.plot

    def there(self) -> Iterator[tuple[str, Path]]:
        """Those that exist, by their names here."""
        for name, path in zip(("sheet", "outcome", "curve", "plot"), self.all, strict=True):
            if path.is_file():
                yield name, path


def concept_files(project: Path, number: int, token: str, class_name: str) -> ConceptFiles:
    """Of a concept by its name; ``project`` is the folder.

    >>> concept_files(Path("model"), 1, "sks", "toy dog").curve.as_posix()
    'model/curves/001-sks-toy_dog.csv'
    """
    stem = file_stem(number, token, class_name)
    sheets, curves = project / SHEETS, project / CURVES
    return ConceptFiles(
        sheets / f"{stem}.png", sheets / f"{stem}.json", curves / f"{stem}.csv", curves / f"{stem}.png"
    )


def read_outcome_of(project: Path, record: ConceptRecord) -> Outcome | None:
    """What was measured when the concept was learned; None: nothing that can be read."""
    return read_outcome(concept_files(project, record.number, record.token, record.class_name).outcome)
