"""What a project's manifest says of it, by itself: nothing is read from the disk, nothing is changed."""

from collections.abc import Mapping
from pathlib import Path

from .base import Base
from .manifest import Manifest
from .paths import ProjectPaths
from .records import ConceptRecord, State
from .weights import held, weights_of

__all__ = ["RecordedProject"]


class RecordedProject(ProjectPaths):
    """A project as it is recorded.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: Path, manifest: Manifest | None) -> None:
        super().__init__(folder)
        self._manifest = manifest

    @property
    def manifest(self) -> Manifest | None:
        """All that is recorded; None in a new project before :meth:`start`."""
        return self._manifest

    @property
    def base(self) -> Base | None:
        """The model that the project started from; None in a new project before :meth:`start`."""
        return self._manifest.base if self._manifest else None

    @property
    def concepts(self) -> tuple[ConceptRecord, ...]:
        """What was done to the model, the first first: concepts learned, and earlier ones weighed anew."""
        return self._manifest.concepts if self._manifest else ()

    @property
    def tokens(self) -> tuple[str, ...]:
        """The trigger words of the concepts that are in the model."""
        return tuple(concept.token for concept in self.held)

    @property
    def held(self) -> tuple[ConceptRecord, ...]:
        """The concepts that are in the model: without those that were removed."""
        return held(self.concepts)

    @property
    def weights(self) -> Mapping[int, float]:
        """What every concept's change counts in the model, by its number; 1: as it was taught, 0: removed."""
        return weights_of(self.concepts)

    @property
    def number(self) -> int:
        """How many steps have led to the current state: concepts, and re-weightings of earlier ones."""
        return len(self.concepts)

    @property
    def current(self) -> State | None:
        """The current state; None: the base."""
        return self._manifest.states[-1] if self._manifest and self._manifest.states else None

    @property
    def undoable(self) -> int:
        """How many times :meth:`undo` can go back."""
        kept = len(self._manifest.states) if self._manifest else 0
        return kept if kept == self.number else kept - 1

    @property
    def checkpoint_path(self) -> Path | None:
        """The evolving model's file; None: it is the base."""
        return self.checkpoints_dir / self.current.checkpoint if self.current else None

    @property
    def memory_path(self) -> Path | None:
        """The current state's memory; None: nothing has been learned yet."""
        return self.memory_dir / self.current.memory if self.current else None
