"""Where all of a model lies: the file that is taught, and companions in files of their own.

Needs no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from clora_ext.errors import CheckpointError, UsageError
from clora_ext.formats.header import Header
from clora_ext.formats.models import model_header
from clora_ext.formats.pieces import Piece
from clora_ext.formats.statements import Statement

from . import load, recognise
from .companion import find_companion
from .refused import refuse_known

if TYPE_CHECKING:
    from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["ModelPlace", "find_place"]


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """The files of one model.

    Attributes:
        path: of the network that is taught, or of everything: a file or a folder.
        companions: files of components that ``path`` lacks, by the component's name.
        family: whose companions they are; empty: it has none.
    """

    path: Path
    companions: Mapping[str, Path] = field(default_factory=dict)
    family: str = ""

    def at(self, path: Path) -> "ModelPlace":
        """The same companions beside another file."""
        return replace(self, path=path)

    def as_found(self) -> "ModelPlace":
        """Without companions that are gone: the rest can be read, if not drawn with."""
        return replace(self, companions={name: one for name, one in self.companions.items() if one.exists()})

    def header(self, *said: Statement) -> Header:
        """Of everything; see :func:`clora_ext.formats.models.model_header`.

        Raises:
            CheckpointError: a file cannot be used.
        """
        return model_header(self.path, *said, borrowed=self._borrowed())

    def open(self, *said: Statement) -> "Checkpoint":
        """All of it as one checkpoint; see :func:`clora_ext.formats.composed.open_model`.

        Raises:
            CheckpointError: a file cannot be used.
        """
        from clora_ext.formats.composed import open_model

        return open_model(self.path, *said, borrowed=self._borrowed())

    def _borrowed(self) -> Mapping[str, Piece]:
        """The companions' tensors.

        Raises:
            CheckpointError: a file is gone, or holds no such network.
        """
        if not self.companions:
            return {}
        kinds = load(self.family).companions
        found: dict[str, Piece] = {}
        for component, file in self.companions.items():
            if not file.exists():
                message = f"the {kinds[component].title} of {self.path} is gone: {file}"
                fix = f"put it back, or name its file: {kinds[component].option} FILE"
                raise CheckpointError(message, fix=fix)
            found |= kinds[component].read(file)
        return found


def find_place(
    path: Path, given: Mapping[str, Path], among: Mapping[str, Sequence[Path]] = MappingProxyType({})
) -> ModelPlace:
    """Where all of the model at ``path`` lies; what it lacks and is not given is looked for beside it.

    Args:
        path: a file or a folder.
        given: files of components, by the component's name.
        among: files of which one is a component that is not given, by its name; of others: those beside.

    Raises:
        CheckpointError: a companion is not found, or does not fit.
        UsageError: one is given that a model of this kind does not have, or has itself.
    """
    header = model_header(path)
    family = recognise(header)
    kinds = {} if family is None else family.companions
    if kinds:
        refuse_known(header, path)  # before anybody looks for what belongs to it
    lacking = {} if family is None else {name: kinds[name] for name in family.lacking(header)}
    for component in given:
        if component not in lacking:
            what = f"{path} has its own {component}" if component in kinds else f"{path} takes no {component}"
            raise UsageError(f"{what.replace('_', ' ')} file", fix="leave the option out")
    companions: dict[str, Path] = {}
    for component, kind in lacking.items():
        if component in given:
            if not given[component].exists():
                raise CheckpointError(f"{given[component]} does not exist", fix="check the path")
            kind.fitting(given[component], header)
            companions[component] = given[component].absolute()
        else:
            companions[component] = find_companion(kind, header, path, among.get(component))
    return ModelPlace(path, companions, family.name if family is not None and companions else "")
