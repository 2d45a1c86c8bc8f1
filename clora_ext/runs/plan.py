"""What a run would do: everything read and checked, nothing written, no model loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from clora_ext import strategies
from clora_ext.adapters.sites import Target
from clora_ext.config.settings import Settings
from clora_ext.data import Concept, Dataset, name_concept, scan
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.families.targets import choose_targets
from clora_ext.project import Project
from clora_ext.runs.context import ProjectContext, project_context
from clora_ext.runs.lora_files import check_new_file
from clora_ext.training.state import resume_step

__all__ = ["STATE_FILE", "Plan", "Request", "make_plan", "plan_within"]

STATE_FILE = "state.safetensors"
"""Where a stopped run leaves its training state, inside the project's training folder."""


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
        settings: how to teach; None: as suits the model.
        keep: earlier checkpoints to keep for undo.
        skip_bad: leave out unusable files instead of refusing all.
        convert: accept pictures that look different as 8-bit RGB.
        sample_prompt: what previews and the contact sheet draw; None: the first picture's caption.
        preview_every: steps from one preview to the next while it is taught; 0: none.
        export_lora: file outside of the project to keep the trained adapter in, in kohya's format; None: it
            is kept nowhere.
    """

    images: Path
    project: Path = Path("clora-model")
    base: Path | None = None
    token: str | None = None
    class_name: str | None = None
    settings: Settings | None = None
    keep: int = 1
    skip_bad: bool = False
    convert: bool = False
    sample_prompt: str | None = None
    preview_every: int = 0
    export_lora: Path | None = None


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
        resolution: training resolution, pixels.
        size_multiple: sides of pictures are multiples of this, pixels.
        targets: the weights that adapters are trained on.
        state_level: what the strategy keeps of past concepts.
        resume_step: steps that a stopped run of this same plan has already done.
        fingerprint: sha256 over everything that shapes the result: equal plans give equal models.
    """

    request: Request
    context: ProjectContext
    settings: Settings
    concept: Concept
    dataset: Dataset
    resolution: int
    size_multiple: int
    targets: tuple[Target, ...]
    state_level: str
    resume_step: int
    fingerprint: str

    @property
    def sample_prompt(self) -> str:
        """What previews and the before/after sheet draw."""
        return self.request.sample_prompt or self.dataset.pictures[0].caption

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        rank = self.settings.adapter.rank
        return sum(rank * (target.shape[0] + target.shape[1]) for target in self.targets)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "project": str(self.request.project),
            **self.context.as_dict(),
            "concept": {"number": self.context.number, "token": self.concept.token,
                        "class": self.concept.class_name},
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
    if request.settings is not None:
        request.settings.check()
    if request.keep < 0:
        raise UsageError(f"keep must not be negative, it is {request.keep}", fix="0 keeps no earlier model")
    if request.preview_every < 0:
        message = f"previews cannot come every {request.preview_every} steps"
        raise UsageError(message, fix="0 makes none")
    context = project_context(project, request.base)
    settings = request.settings or context.suggested
    strategy = strategies.load(settings.strategy, settings.strategy_options)
    concept = name_concept(
        request.images, token=request.token, class_name=request.class_name, taken=list(context.used_tokens)
    )
    family, header = context.family, context.header
    resolution = settings.data.resolution or family.resolution(header)
    targets = choose_targets(
        family.modules(header), settings.adapter.targets, text_encoders=settings.adapter.text_encoder
    )
    _check_rank(settings.adapter.rank, targets, context.base_file)
    dataset = scan(
        request.images,
        concept=concept,
        resolution=resolution,
        skip_bad=request.skip_bad,
        convert=request.convert,
    )
    fingerprint = _fingerprint(context, dataset, settings)
    _check_lora_target(request, fingerprint)
    return Plan(
        request=request,
        context=context,
        settings=settings,
        concept=concept,
        dataset=dataset,
        resolution=resolution,
        size_multiple=family.step(header),
        targets=targets,
        state_level=strategy.state_level,
        resume_step=resume_step(project.training_dir / STATE_FILE, fingerprint) if project else 0,
        fingerprint=fingerprint,
    )


def _check_lora_target(request: Request, fingerprint: str) -> None:
    """Asked before anything is trained: where the adapter is to be kept."""
    target = request.export_lora
    if target is None:
        return
    check_new_file(target, plan=fingerprint)
    if request.project.absolute() in target.absolute().parents:
        message = f"{target} lies in the project, which keeps no adapters"
        raise UsageError(message, fix="name a file outside of it")


def _check_rank(rank: int, targets: tuple[Target, ...], base_file: Path) -> None:
    """A rank above a layer's smaller side is no low rank."""
    if not targets:
        raise CheckpointError(f"{base_file} has no attention layer to teach", fix="use another checkpoint")
    smallest = min(targets, key=lambda target: min(target.shape))
    if rank > min(smallest.shape):
        message = f"rank {rank} is larger than the layer {smallest.name} of shape {list(smallest.shape)}"
        raise UsageError(message, fix=f"use a rank of {min(smallest.shape)} at the most")


def _fingerprint(context: ProjectContext, dataset: Dataset, settings: Settings) -> str:
    content: Mapping[str, Any] = {
        "base": context.base.sha256,
        "parent": context.parent_hash,
        "dataset": dataset.fingerprint,
        "settings": settings.as_dict(),
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
