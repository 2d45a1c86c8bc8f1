"""What travels along the pack's own wires."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clora_ext import Project, Result, families
from clora_ext.errors import UsageError
from clora_ext.export.names import check_name
from clora_ext.families.components import denoiser_of
from clora_ext.families.hub import DEMO_MODEL
from clora_ext.formats.changes import changes
from clora_ext.formats.composed import open_model
from clora_ext.formats.folder_files import folder_at
from clora_ext.formats.prediction import Prediction
from clora_ext.formats.statements import Statement
from clora_ext.project.base import check_said, recorded_statements
from clora_ext.runs.request import asked_statements

from . import host

__all__ = [
    "DEMO",
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
    """

    folder: Path
    base: Path | None
    checkpoint: Path
    model: Any = field(repr=False)
    clip: Any = field(repr=False)
    vae: Any = field(repr=False)
    said: tuple[str | None, bool | None] = (None, None)

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
        clip = self.clip if len(patches) == len(new) else host.load_clip(checkpoint)
        return replace(state, model=host.patched(self.model, patches), clip=clip)


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
    name: str, checkpoint_name: str, said: tuple[str | None, bool | None] = (None, None)
) -> Evolving:
    """A new project, or the one of that name, which must have begun with the same model.

    ``said``: what the checkpoint predicts and whether its noise schedule ends in pure noise, where its files
    do not say it.

    Raises:
        CloraError: the name is none, the project has another base or says otherwise, or the checkpoint is of
            a kind that cannot be taught.
    """
    folder = project_folder(name)
    base = None if checkpoint_name == DEMO else host.checkpoint_path(checkpoint_name)
    if Project.exists(folder):
        project = Project.open(folder)
        if project.base is not None:
            project.base.check(base or DEMO_MODEL)
        if project.concepts:
            check_said(folder, recorded_statements(project.base), asked_statements(said[0], zero_snr=said[1]))
        return replace(open_project(folder), said=said)
    # Before ComfyUI, which knows more models than clora can teach, loads some gigabytes.
    prediction = _prediction(base or DEMO_MODEL, asked_statements(said[0], zero_snr=said[1]))
    return replace(_loaded(folder, base, base or DEMO_MODEL, prediction), said=said)


def open_project(folder: Path) -> Evolving:
    """A project as it is now.

    Raises:
        CloraError: it is none, its files are damaged, or it has learned nothing and its base has gone.
    """
    project = Project.open(folder)
    project.verify()
    base = None if project.base is None or project.base.path is None else Path(project.base.path)
    checkpoint = project.model_file()
    prediction = _prediction(checkpoint, recorded_statements(project.base))
    return _loaded(folder, base, checkpoint, prediction)


def current(evolving: Evolving) -> Evolving:
    """The project as it is now: the command line or another graph may have taught it meanwhile."""
    if not Project.exists(evolving.folder):
        return evolving
    project = Project.open(evolving.folder)
    same = project.checkpoint_path == evolving.checkpoint
    return evolving if same else open_project(evolving.folder)


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
    return open_project(evolving.folder)


def _prediction(checkpoint: Path, said: Sequence[Statement]) -> Prediction:
    """What a checkpoint predicts.

    Raises:
        CheckpointError: it is of a kind that cannot be taught.
        UsageError: it can, but not here.
    """
    header = open_model(checkpoint, *said).header
    family = families.detect(header, checkpoint)
    if family.companions:
        message = f"{checkpoint} is {family.title}, which the nodes do not teach yet"
        raise UsageError(message, fix="teach it by the command: clora add-concept --base FILE")
    return family.prediction(header)


def _loaded(folder: Path, base: Path | None, checkpoint: Path, prediction: Prediction) -> Evolving:
    """With ComfyUI's objects; where it does not know the model, nodes that ask for them are blocked."""
    if folder_at(checkpoint) is not None:
        raise UsageError(f"{checkpoint} is a diffusers folder", fix="start from a .safetensors checkpoint")
    try:
        model, clip, vae = host.load_checkpoint(checkpoint)
        objects = (host.predicting(model, prediction), clip, vae)
    except RuntimeError:
        if base is not None:
            raise
        objects = (host.blocked(_NOT_DRAWN),) * 3
    return Evolving(folder, base, checkpoint, *objects)


_NOT_DRAWN = (
    "ComfyUI does not know clora's small demo model, so there is no MODEL, CLIP or VAE of it. It can be "
    "taught here all the same: look at the images of Add Concept, or draw with the node Clora Draw."
)
