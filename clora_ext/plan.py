"""What a run would do: everything read and checked, nothing written, no model loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from clora_ext import families, strategies
from clora_ext.bases import find_base
from clora_ext.data import Concept, Dataset, name_concept, scan
from clora_ext.errors import CheckpointError, ProjectError, UsageError
from clora_ext.families.base import Family, Target
from clora_ext.families.targets import choose_targets
from clora_ext.formats.models import model_header, model_sha256
from clora_ext.project import Base, Project
from clora_ext.settings import Settings
from clora_ext.training_state import resume_step

__all__ = ["DEMO_MODEL", "STATE_FILE", "Plan", "Request", "base_file", "make_plan", "plan_within"]

DEMO_MODEL = Path(__file__).parent / "assets" / "demo_model.safetensors"
"""The built-in model: the base of a project that names none."""

STATE_FILE = "state.safetensors"
"""Where a stopped run leaves its training state, inside the project's training folder."""
_DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks for.

    Attributes:
        images: folder of pictures.
        project: folder of the evolving model; made if it does not exist.
        base: what a new project starts from: a safetensors file, a diffusers folder, or, where there is no
            such path, the name of a model on the Hugging Face hub (which is then fetched); None: the built-in
            demo model.
        token: rare word that will call the concept; None: from the folder's name, or the next unused one.
        class_name: what kind of thing it is; None: from the folder's name.
        settings: how to teach.
        keep: earlier checkpoints to keep for undo.
        skip_bad: leave out unusable files instead of refusing all.
        convert: accept pictures that look different as 8-bit RGB.
    """

    images: Path
    project: Path = Path("clora-model")
    base: Path | None = None
    token: str | None = None
    class_name: str | None = None
    settings: Settings = field(default_factory=Settings)
    keep: int = 1
    skip_bad: bool = False
    convert: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run depends on.

    Attributes:
        request: as asked.
        new_project: whether the run starts the project.
        base: the project's base.
        base_file: where the base lies now.
        current_file: the checkpoint to go on from; the base before the first concept.
        memory_file: the memory that goes with it; None before the first concept.
        parent_hash: content hash of what is gone on from; the base's file hash before the first concept.
        family: the kind of model.
        concept: what will be learned.
        dataset: from which pictures.
        number: this will be the project's number-th concept.
        resolution: training resolution, pixels.
        size_step: sides of pictures are multiples of this, pixels.
        targets: the weights that adapters are trained on.
        state_level: what the strategy keeps of past concepts.
        resume_step: steps that a stopped run of this same plan has already done.
        fingerprint: sha256 over everything that shapes the result: equal plans give equal models.
    """

    request: Request
    new_project: bool
    base: Base
    base_file: Path
    current_file: Path
    memory_file: Path | None
    parent_hash: str
    family: Family
    concept: Concept
    dataset: Dataset
    number: int
    resolution: int
    size_step: int
    targets: tuple[Target, ...]
    state_level: str
    resume_step: int
    fingerprint: str

    @property
    def settings(self) -> Settings:
        """How to teach."""
        return self.request.settings

    @property
    def sample_prompt(self) -> str:
        """The prompt of the before/after sheet: what the first picture was said to be."""
        return self.dataset.pictures[0].caption

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        rank = self.settings.rank
        return sum(rank * (target.shape[0] + target.shape[1]) for target in self.targets)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "project": str(self.request.project),
            "new_project": self.new_project,
            "base": {"kind": self.base.kind, "path": str(self.base_file), "sha256": self.base.sha256},
            "family": self.family.name,
            "concept": {"number": self.number, "token": self.concept.token, "class": self.concept.class_name},
            "images": [
                {"file": str(picture.path), "width": picture.width, "height": picture.height,
                 "caption": picture.caption, "caption_from": picture.caption_from,
                 "repeats": picture.repeats, "notes": list(picture.notes)}
                for picture in self.dataset.pictures
            ],
            "rejected": [
                {"file": str(bad.path), "reason": bad.reason, "fix": bad.fix} for bad in self.dataset.rejected
            ],
            "notes": list(self.dataset.notes),
            "settings": self.settings.as_dict(),
            "resolution": self.resolution,
            "layers": len(self.targets),
            "parameters": self.parameters,
            "state_level": self.state_level,
            "parent_hash": self.parent_hash,
            "resume_step": self.resume_step,
            "fingerprint": self.fingerprint,
        }  # fmt: skip


def make_plan(request: Request) -> Plan:
    """Read and check everything that ``request`` needs; write nothing.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    exists = Project.exists(request.project)
    return plan_within(Project.open(request.project) if exists else None, request)


def plan_within(project: Project | None, request: Request) -> Plan:
    """The plan for a project that is open (None: one that does not exist yet)."""
    settings = request.settings
    settings.check()
    strategy = strategies.load(settings.strategy, settings.strategy_options)
    if request.keep < 0:
        raise UsageError(f"keep must not be negative, it is {request.keep}", fix="0 keeps no earlier model")
    manifest = project.manifest if project is not None else None
    taken = [record.token for record in manifest.concepts] if manifest else []
    concept = name_concept(request.images, token=request.token, class_name=request.class_name, taken=taken)
    # A project whose concepts were all undone may start over from another base.
    bound = manifest is not None and (bool(taken) or request.base is None)
    base, base_file = _base(manifest.base if manifest and bound else None, request)
    header = model_header(base_file)
    family = families.detect(header, base_file)
    resolution = settings.resolution or family.resolution(header)
    targets = choose_targets(family.modules(header), settings.targets, text_encoders=settings.text_encoder)
    _check_rank(settings.rank, targets, base_file)
    dataset = scan(
        request.images,
        concept=concept,
        resolution=resolution,
        skip_bad=request.skip_bad,
        convert=request.convert,
    )
    current = project.checkpoint_path if project is not None else None
    parent_hash = project.current.content_hash if project is not None and project.current else base.sha256
    fingerprint = _fingerprint(parent_hash, base, dataset, request)
    return Plan(
        request=request,
        new_project=manifest is None,
        base=base,
        base_file=base_file,
        current_file=current or base_file,
        memory_file=project.memory_path if project is not None else None,
        parent_hash=parent_hash,
        family=family,
        concept=concept,
        dataset=dataset,
        number=len(taken) + 1,
        resolution=resolution,
        size_step=family.step(header),
        targets=targets,
        state_level=strategy.state_level,
        resume_step=resume_step(project.training_dir / STATE_FILE, fingerprint) if project else 0,
        fingerprint=fingerprint,
    )


def _base(recorded: Base | None, request: Request) -> tuple[Base, Path]:
    """The base and where it lies; a recorded one must be the same file that it was.

    Raises:
        CheckpointError: it cannot be used as a base.
        BaseChanged: another file than the recorded one.
    """
    asked = None if request.base is None else find_base(request.base)
    if recorded is None:
        file = asked or DEMO_MODEL
        family = families.detect(model_header(file), file).name
        if asked is None:
            return Base(_DEMO, None, model_sha256(file), family), file
        kind = "folder" if file.is_dir() else "file"
        return Base(kind, str(file.resolve()), model_sha256(file), family), file
    file = asked or _place(recorded)
    recorded.check(file)
    moved = recorded.kind != _DEMO and asked is not None
    return replace(recorded, path=str(file.resolve())) if moved else recorded, file


def base_file(project: Project) -> Path:
    """Where the project's base lies.

    Raises:
        ProjectError: it is gone, or the project has none yet.
    """
    if project.manifest is None:
        raise ProjectError(f"{project.folder} holds no model yet", fix="teach a first concept")
    return _place(project.manifest.base)


def _place(base: Base) -> Path:
    """The recorded place of a base, which must still be there."""
    file = DEMO_MODEL if base.kind == _DEMO else Path(base.path or "")
    if not file.exists():
        raise ProjectError(f"the project's base {file} is gone", fix="name its new place with --base")
    return file


def _check_rank(rank: int, targets: tuple[Target, ...], base_file: Path) -> None:
    """A rank above a layer's smaller side is no low rank."""
    if not targets:
        raise CheckpointError(f"{base_file} has no attention layer to teach", fix="use another checkpoint")
    smallest = min(targets, key=lambda target: min(target.shape))
    if rank > min(smallest.shape):
        message = f"rank {rank} is larger than the layer {smallest.name} of shape {list(smallest.shape)}"
        raise UsageError(message, fix=f"use a rank of {min(smallest.shape)} at the most")


def _fingerprint(parent_hash: str, base: Base, dataset: Dataset, request: Request) -> str:
    content: Mapping[str, Any] = {
        "base": base.sha256,
        "parent": parent_hash,
        "dataset": dataset.fingerprint,
        "settings": request.settings.as_dict(),
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
