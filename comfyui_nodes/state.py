"""What travels along the pack's own wires."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clora_ext import Project, Result, families
from clora_ext.errors import UsageError
from clora_ext.export.names import check_name
from clora_ext.families.components import denoiser_of
from clora_ext.families.family_data import family_data
from clora_ext.families.hub import DEMO_MODEL
from clora_ext.families.place import ModelPlace, find_place
from clora_ext.formats.changes import changes
from clora_ext.formats.composed import open_model
from clora_ext.formats.folder_files import folder_at
from clora_ext.formats.statements import Statement
from clora_ext.project.base import check_said, recorded_statements
from clora_ext.runs.request import asked_statements

from . import host, models

__all__ = [
    "DEMO",
    "LISTS",
    "Dataset",
    "Evolving",
    "Report",
    "current",
    "go_back",
    "open_project",
    "project_folder",
    "project_names",
    "start_project",
]

DEMO = "clora's built-in demo model"
"""What the list of checkpoints calls it."""

LISTS = {"text_encoder": "text_encoders", "vae": "vae"}
"""ComfyUI's folders of what a model may lack, by component."""

_PROJECTS = "clora"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Pictures to teach, and what they show; None: the folder's name says it."""

    folder: Path
    token: str | None = None
    class_name: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """How a concept was taught: what was made, and every step's loss."""

    result: Result
    losses: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Evolving:
    """A project in one of its states, with ComfyUI's objects of it.

    Attributes:
        folder: of the project; it may not exist before its first concept.
        base: what a new project starts from; None: the demo model.
        checkpoint: the state's file.
        model: MODEL, or what blocks the nodes that ask for one.
        clip: CLIP, or the same.
        vae: VAE, or the same.
        said: what the user says of what a new project's base predicts; (None, None): its files say it.
        companions: files of what the base lacks, by component: those of a new project, and those of others
            that the user names.
        variant: which of its family's variants the user says that the base is; None: nothing is said.
    """

    folder: Path
    base: Path | None
    checkpoint: Path
    model: Any = field(repr=False)
    clip: Any = field(repr=False)
    vae: Any = field(repr=False)
    said: tuple[str | None, bool | None] = (None, None)
    companions: Mapping[str, Path] = field(default_factory=dict)
    variant: str | None = None

    @property
    def outputs(self) -> tuple[Any, Any, Any]:
        """MODEL, CLIP, VAE."""
        return self.model, self.clip, self.vae

    @property
    def triggers(self) -> str:
        """The concepts' trigger words, a line each."""
        concepts = Project.open(self.folder).held if Project.exists(self.folder) else ()
        return "\n".join(f"{concept.token} {concept.class_name}" for concept in concepts)

    def taught(self, folder: Path, checkpoint: Path) -> "Evolving":
        """The state after more has been learned: only what has changed is read."""
        state = replace(self, folder=folder, checkpoint=checkpoint)
        if host.is_blocked(self.model):
            return state
        recorded = recorded_statements(Project.open(folder).base)
        before = open_model(self.checkpoint, *recorded)
        new = dict(changes(before, open_model(checkpoint)))
        denoiser = denoiser_of(families.detect(before.header, self.checkpoint).components)
        patches = {name: weight for name, weight in new.items() if name.startswith(denoiser.prefix)}
        clip = self.clip if len(patches) == len(new) else models.load_clip(checkpoint)
        return replace(state, model=models.patched(self.model, patches), clip=clip)


def project_names() -> list[str]:
    """Projects in ComfyUI's output folder."""
    root = host.output_folder(_PROJECTS)
    return sorted(path.name for path in root.iterdir() if Project.exists(path)) if root.is_dir() else []


def project_folder(name: str) -> Path:
    """Where a project of that name lies.

    Raises:
        UsageError: it can be no file name.
    """
    return host.output_folder(_PROJECTS, check_name(name))


def start_project(
    name: str,
    model_name: str,
    said: tuple[str | None, bool | None] = (None, None),
    named: Mapping[str, Path] = MappingProxyType({}),
    variant: str | None = None,
) -> Evolving:
    """A new project, or the one of that name, which must have begun with the same model.

    Args:
        name: of the project.
        model_name: of a listed model.
        said: what the model predicts and whether its noise schedule ends in pure noise, where its files do
            not say it.
        named: files of what it lacks, by component; of others one is taken that ComfyUI lists and that fits.
        variant: which of its family's variants the model is; None: nothing is said.

    Raises:
        CloraError: the name is none, the project has another base or says otherwise, or the model is of a
            kind that cannot be taught.
    """
    folder = project_folder(name)
    base = None if model_name == DEMO else host.model_path(model_name)
    statements = asked_statements(said[0], zero_snr=said[1], variant=variant)
    if Project.exists(folder):
        project = Project.open(folder)
        if project.base is not None:
            project.base.check(base or DEMO_MODEL)
        if project.concepts:
            check_said(folder, recorded_statements(project.base), statements)
        return replace(open_project(folder, named), said=said, variant=variant)
    place = find_place(base or DEMO_MODEL, named, _listed())
    return replace(
        _loaded(folder, base, place, statements), said=said, companions=place.companions, variant=variant
    )


def _listed() -> Mapping[str, Sequence[Path]]:
    """Files that ComfyUI lists, by the component that they may be."""
    return {name: [host.listed_path(kind, one) for one in host.listed(kind)] for name, kind in LISTS.items()}


def open_project(folder: Path, named: Mapping[str, Path] = MappingProxyType({})) -> Evolving:
    """A project as it is now; ``named``: where files beside its base lie now, by component.

    Raises:
        CloraError: it is none, its files are damaged, or it has learned nothing and its base has gone.
    """
    project = Project.open(folder)
    project.verify()
    base = None if project.base is None or project.base.path is None else Path(project.base.path)
    place = project.model_place(companions=named)
    return replace(_loaded(folder, base, place, recorded_statements(project.base)), companions=named)


def current(evolving: Evolving) -> Evolving:
    """The project as it is now: the command line or another graph may have taught it meanwhile."""
    if not Project.exists(evolving.folder):
        return evolving
    project = Project.open(evolving.folder)
    same = project.checkpoint_path == evolving.checkpoint
    return evolving if same else open_project(evolving.folder, evolving.companions)


def go_back(evolving: Evolving, concepts: int) -> Evolving:
    """The project with its first ``concepts`` concepts only; one that has no more stays as it is.

    Raises:
        CloraError: another run works in it, or the models before were not kept.
    """
    if not Project.exists(evolving.folder):
        return evolving
    with Project.writing(evolving.folder) as project:
        while project.number > concepts:
            project.undo()
    return open_project(evolving.folder, evolving.companions)


def _loaded(folder: Path, base: Path | None, place: ModelPlace, said: Sequence[Statement]) -> Evolving:
    """With ComfyUI's objects; where it does not know the model, nodes that ask for them are blocked.

    Raises:
        CheckpointError: it is of a kind that cannot be taught.
        UsageError: ComfyUI cannot load it as it lies.
    """
    checkpoint = place.path
    # Before ComfyUI, which knows more models than clora can teach, loads some gigabytes.
    header = place.header(*said)
    family = families.detect(header, checkpoint)
    prediction = family.prediction(header)
    if folder_at(checkpoint) is not None:
        raise UsageError(f"{checkpoint} is a diffusers folder", fix="start from a .safetensors checkpoint")
    if family.companions:
        models.check_version(family.title)
    if place.companions:
        kind = family_data(family.name)["clip_type"]
        return Evolving(folder, base, checkpoint, *models.load_parts(checkpoint, place.companions, kind))
    try:
        model, clip, vae = models.load_checkpoint(checkpoint)
        objects = (models.predicting(model, prediction), clip, vae)
    except RuntimeError:
        if base is not None:
            raise
        objects = (host.blocked(_NOT_DRAWN),) * 3
    return Evolving(folder, base, checkpoint, *objects)


_NOT_DRAWN = (
    "ComfyUI does not know clora's small demo model, so there is no MODEL, CLIP or VAE of it. It can be "
    "taught here all the same: look at the images of Add Concept, or draw with the node Clora Draw."
)
