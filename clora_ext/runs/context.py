"""The state of a project that a run starts from: its base, its evolving model, its concepts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from clora_ext import families
from clora_ext.config.settings import PromptSettings, Settings
from clora_ext.errors import CheckpointError
from clora_ext.families.base import Family
from clora_ext.families.hub import DEMO_MODEL, find_base, place_of
from clora_ext.families.place import find_place
from clora_ext.families.variant import VARIANT_KEY, ToldVariant, tell_variant
from clora_ext.formats.folder_files import folder_at
from clora_ext.formats.header import Header
from clora_ext.formats.models import model_sha256
from clora_ext.formats.prediction import Prediction, say
from clora_ext.formats.statements import Statement
from clora_ext.project import Base, Project
from clora_ext.project.base import check_said, recorded_statements
from clora_ext.prompts import reads_as_one

from .suggested import reading_of, suited

if TYPE_CHECKING:
    from clora_ext.evolving.model import Evolving
    from clora_ext.formats.checkpoint import Checkpoint
    from clora_ext.prompts.concept_prompts import ConceptPrompts

__all__ = ["ProjectContext", "open_evolving", "project_context"]

_DEMO = "demo"


@dataclass(frozen=True, slots=True)
class ProjectContext:
    """The state of a project before a run.

    Attributes:
        new_project: whether the run starts the project.
        base: the project's base.
        base_file: where the base lies now.
        current_file: the checkpoint to go on from; the base before the first concept.
        memory_file: the memory that goes with it; None before the first concept.
        parent_hash: content hash of the state that the run starts from; before the first concept, the base's
            own hash.
        family: the kind of model.
        header: of the base, with the project's word for what it predicts.
        prediction: what the model predicts, who says so, and who says otherwise.
        used_tokens: tokens of the concepts that are in it, the first first.
        number: the next concept will be the project's number-th.
        variant: which of its family's variants the model is taken for; None: the family has none.
        reading: how texts of the last concept that is in it are read.
    """

    new_project: bool
    base: Base
    base_file: Path
    current_file: Path
    memory_file: Path | None
    parent_hash: str
    family: Family
    header: Header
    prediction: Prediction
    used_tokens: tuple[str, ...]
    number: int
    reading: PromptSettings
    variant: ToldVariant | None = None

    @property
    def suggested(self) -> Settings:
        """Settings that suit the model and what it has learned."""
        return suited(self.family, self.header, self.variant, self.reading)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the base: who says otherwise of what it predicts, variant, licence."""
        told = () if self.variant is None else (self.variant.note,)
        licence = (self.family.licence,) if self.family.licence else ()
        return (*self.prediction.notes, *told, *licence)

    @property
    def size_multiple(self) -> int:
        """Sides of pictures are multiples of this, pixels."""
        return self.family.size_multiple(self.header)

    @property
    def own_header(self) -> Header:
        """Of the base without what lies in files of its own: what a project writes anew."""
        beside = tuple(self.family.components[name].prefix for name in self.base.companions)
        own = {name: one for name, one in self.header.tensors.items() if not name.startswith(beside)}
        return replace(self.header, tensors=own)

    @property
    def knows_word(self) -> Callable[[str], bool] | None:
        """Whether the model knows a word; None: the demo model, which reads no others well."""
        if self.base.kind == _DEMO:
            return None
        read = self.family.reader(self.header)
        return reads_as_one(read)

    @property
    def stamp(self) -> dict[str, str]:
        """Metadata with which the project's checkpoints say what their weights do not tell.

        What they predict, unless they say so anyway; their variant, where somebody has said it.
        """
        variant = {} if self.base.variant is None else {VARIANT_KEY: self.base.variant}
        try:
            by_itself = self.family.prediction(replace(self.header, statements=()))
        except CheckpointError:  # it says something that nobody knows
            return {**self.prediction.metadata, **variant}
        return variant if by_itself == self.prediction else {**self.prediction.metadata, **variant}

    def open_current(self) -> "Checkpoint":
        """The checkpoint to go on from."""
        return self.open_state(self.current_file)

    def open_state(self, file: Path) -> "Checkpoint":
        """A checkpoint that the project has made, or its base, with all that lies beside it."""
        return self.base.model_place(file).open(*recorded_statements(self.base))

    def kept_prompts(self, strategy: str) -> "tuple[ConceptPrompts, ...]":
        """What the named strategy has kept of past concepts in words.

        Raises:
            CheckpointError: the evolving model's files do not belong together.
        """
        return self.evolving().prompts(strategy)

    def check_loading(self) -> None:
        """Make sure that the model loads; reads headers only. A run need not ask, it is told by loading.

        Raises:
            CheckpointError: it does not, or its files do not belong together.
        """
        current = self.evolving().current
        if self.base.kind != _DEMO:  # which ships with clora
            self.family.check_loading(current.header, current.path)

    def evolving(self) -> "Evolving":
        """The model itself.

        Raises:
            CheckpointError: its files do not belong together.
        """
        from clora_ext.evolving.model import Evolving
        from clora_ext.formats.checkpoint import Checkpoint

        memory = None if self.memory_file is None else Checkpoint(self.memory_file)
        origin = self.open_state(self.base_file)
        evolving = Evolving(origin, self.open_current(), memory, learned=len(self.used_tokens))
        if memory is not None:
            evolving.check(self.parent_hash)
        return evolving

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "new_project": self.new_project,
            "base": {"kind": self.base.kind, "path": str(self.base_file), "sha256": self.base.sha256},
            **self._beside(),
            "family": self.family.name,
            "prediction": self.prediction.as_dict(),
            **({} if self.variant is None else {"variant": self.variant.as_dict()}),
            "notes": list(self.notes),
            "parent_hash": self.parent_hash,
        }

    def _beside(self) -> dict[str, Any]:
        """The base's companions in plain values; nothing of a base that has none."""
        files = {name: str(file) for name, file in self.base.companions.items()}
        return {"companions": files} if files else {}


def project_context(
    project: Project | None,
    base: Path | None,
    said: Sequence[Statement] = (),
    companions: Mapping[str, Path] = MappingProxyType({}),
) -> ProjectContext:
    """The context of a project that is open (None: one that does not exist yet).

    Args:
        project: the project.
        base: what a new project starts from, or where a project's base lies now; None: the demo model, or
            where it was.
        said: what the user says of the base.
        companions: files of components that the base lacks, where the user names them.

    Raises:
        CheckpointError: the base cannot be used.
        UsageError: the project has recorded that it predicts something else, or there is no such variant.
        BaseChanged: another model than the recorded one.
        ProjectError: the recorded base is gone.
    """
    manifest = project.manifest if project is not None else None
    records = project.concepts if project is not None else ()
    # A project whose concepts were all undone may start over from another base.
    bound = manifest is not None and (bool(records) or base is None)
    recorded = manifest.base if manifest and bound else None
    found, file = _base(recorded, base, said, companions)
    kept = recorded_statements(recorded)
    if project is not None and records:
        check_said(project.folder, kept, said)
    header = found.model_place(file).header(*said, *kept)
    family = families.detect(header, file)
    prediction = family.prediction(header)
    told = tell_variant(family.title, family.variants, found.main.place, header)
    found = replace(found.predicting(prediction), variant=told.variant.name if told and told.source else None)
    current = project.current if project is not None else None
    return ProjectContext(
        new_project=manifest is None,
        base=found,
        base_file=file,
        current_file=(project.checkpoint_path if project is not None else None) or file,
        memory_file=project.memory_path if project is not None else None,
        parent_hash=found.sha256 if current is None else current.content_hash,
        family=family,
        header=say(header, *recorded_statements(found)),
        prediction=prediction,
        used_tokens=() if project is None else project.tokens,
        number=len(records) + 1,
        reading=reading_of(project),
        variant=told,
    )


def open_evolving(project: Project, base: Path | None = None) -> "Evolving":
    """The model of a project that is open; before its first concept, the base itself.

    What has been learned lies in the project, so that the base is neither needed nor opened from then on.

    Args:
        project: the project.
        base: where its base lies now, asked only before the first concept; None: where it was.

    Raises:
        BaseChanged: before the first concept, what lies in the base's place is another model.
        ProjectError: it holds no model yet, or before the first concept its base is gone.
        CheckpointError: its files do not belong together.
    """
    from clora_ext.evolving.model import Evolving
    from clora_ext.formats.checkpoint import Checkpoint

    kept = recorded_statements(project.base)
    place = project.model_place(base).as_found()
    current = place.open(*kept)
    if project.checkpoint_path is None or project.memory_path is None or project.current is None:
        return Evolving(current, current, None)
    evolving = Evolving(None, current, Checkpoint(project.memory_path), learned=len(project.concepts))
    evolving.check(project.current.content_hash)
    return evolving


def _base(
    recorded: Base | None, asked: Path | None, said: Sequence[Statement], companions: Mapping[str, Path]
) -> tuple[Base, Path]:
    """The base and where it lies; a recorded one must be the same model that it was."""
    if recorded is not None:
        file, recorded = recorded.find(asked), recorded.companions_at(companions)
        recorded.check_companions()
        return recorded if asked is None else recorded.moved_to(place_of(file)), file
    file = DEMO_MODEL if asked is None else find_base(asked)
    place = find_place(file, companions)
    family = families.detect(place.header(*said), file).name
    if asked is None:
        return Base.of_checkpoint(family, _DEMO, None, model_sha256(file)), file
    kind = "file" if folder_at(file) is None else "folder"
    found = Base.of_checkpoint(family, kind, str(place_of(file)), model_sha256(file))
    return found.with_companions(place.companions), file
