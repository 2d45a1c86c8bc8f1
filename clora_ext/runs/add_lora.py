"""Fold a LoRA that somebody else has trained into the evolving model, as a concept like any other."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext import strategies
from clora_ext.config.settings import Settings
from clora_ext.data import Concept
from clora_ext.errors import UsageError
from clora_ext.events import Note, Sink, Stage, ignore
from clora_ext.formats.models import file_sha256
from clora_ext.project import ConceptRecord, Project, State
from clora_ext.runs.context import ProjectContext, project_context
from clora_ext.runs.lora_files import read_layers
from clora_ext.sampling.samples import SamplePrompt
from clora_ext.version import VERSION

from .already_learned import find_learned_lora
from .finish import fold_concept, now, sample_before, verify, write_contact_sheet
from .result import Result

if TYPE_CHECKING:
    from clora_ext.adapters.factors import Factors
    from clora_ext.adapters.sites import Target
    from clora_ext.evolving.fold import TrainedConcept

__all__ = ["LoraPlan", "LoraRequest", "add_lora", "make_lora_plan"]


@dataclass(frozen=True, slots=True)
class LoraRequest:
    """What the user asks for.

    Attributes:
        file: the LoRA, a safetensors file of any dialect.
        project: folder of the evolving model; made if it does not exist.
        base: what a new project starts from; see :class:`clora_ext.runs.plan.Request`.
        token: the word that calls it; None: what the file says.
        class_name: what kind of thing it is; None: ``LoRA``.
        strategy: how it joins what is there.
        strategy_options: the strategy's own options by name.
        weight: its strength, as in ``<lora:name:0.8>``.
        prompt: of the sheet's pictures; None: from what the file says, or token and class.
        keep: earlier checkpoints to keep for undo.
    """

    file: Path
    project: Path = Path("clora-model")
    base: Path | None = None
    token: str | None = None
    class_name: str | None = None
    strategy: str = Settings().strategy
    strategy_options: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0
    prompt: str | None = None
    keep: int = 1


@dataclass(frozen=True, slots=True)
class LoraPlan:
    """What folding it would do.

    Attributes:
        request: as asked.
        context: what it stands on.
        concept: what it will be called.
        layers: its adapters at the asked strength, by layer.
        dialect: whose names the file uses.
        prompt: of the sheet's pictures.
        notes: what a user should know about the file.
        sha256: of the file.
        state_level: what the strategy keeps of past concepts.
    """

    request: LoraRequest
    context: ProjectContext
    concept: Concept
    layers: "Mapping[Target, Factors]"
    dialect: str
    prompt: str
    notes: tuple[str, ...]
    sha256: str
    state_level: str

    @property
    def ranks(self) -> tuple[int, int]:
        """The smallest and the largest rank of a layer."""
        found = [factors.rank for factors in self.layers.values()]
        return min(found), max(found)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "project": str(self.request.project),
            **self.context.as_dict(),
            "concept": {
                "number": self.context.number,
                "token": self.concept.token,
                "class": self.concept.class_name,
            },
            "lora": {"file": str(self.request.file), "sha256": self.sha256, "dialect": self.dialect},
            "layers": len(self.layers),
            "ranks": list(self.ranks),
            "weight": self.request.weight,
            "strategy": self.request.strategy,
            "prompt": self.prompt,
            "notes": list(self.notes),
            "state_level": self.state_level,
        }


def make_lora_plan(request: LoraRequest) -> LoraPlan:
    """Read and check everything that ``request`` needs; write nothing.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    exists = Project.exists(request.project)
    return _plan_within(Project.open(request.project) if exists else None, request)


def add_lora(
    request: LoraRequest, sink: Sink = ignore, on_plan: Callable[[LoraPlan], None] = lambda plan: None
) -> Result:
    """Fold a finished LoRA into the project's model.

    The project stays as it was until the very end.

    Args:
        request: what to do.
        sink: told what happens; may raise Cancelled to stop.
        on_plan: shown the plan before anything is written; may raise to stop.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    began = time.monotonic()
    with Project.writing(request.project) as project:
        known = _known(project, request)
        if known is not None:
            sink(Note(f"this LoRA has been folded in already, as concept {known.number}, in the same way"))
            return known
        plan = _plan_within(project, request)
        on_plan(plan)
        for note in plan.notes:
            sink(Note(note))
        context = plan.context
        prompt = SamplePrompt(plan.prompt, context.family.resolution(context.header))
        project.start(context.base)
        before = sample_before(context, prompt, sink)
        trigger = (plan.concept.token, plan.concept.class_name)
        state = fold_concept(context, project, _trained_concept(plan), trigger, sink)
        after = verify(context, project, state, prompt, sink)
        sheet = project.new_sheet(context.number, *trigger)
        write_contact_sheet(plan.prompt, before, after, (), sheet, sink)
        sink(Stage("commit"))
        project.commit(_record(plan, state, sheet.name), state, keep=request.keep)
    return Result(
        project=request.project,
        checkpoint=project.checkpoints_dir / state.checkpoint,
        content_hash=state.content_hash,
        number=context.number,
        trigger_prompt=plan.prompt,
        sheet=sheet,
        first_loss=None,
        last_loss=None,
        seconds=time.monotonic() - began,
    )


def _known(project: Project, request: LoraRequest) -> Result | None:
    """The stored result of the same request."""
    if not project.concepts or not request.file.is_file():
        return None
    sha256 = file_sha256(request.file)
    named = [record for record in project.concepts if request.token in {None, record.token}]
    dialects = [record.settings.get("dialect") for record in named if record.dataset_fingerprint == sha256]
    found = (
        find_learned_lora(project, sha256, _settings(request, str(dialect)), request.strategy)
        for dialect in dialects
    )
    return next((result for result in found if result is not None), None)


def _settings(request: LoraRequest, dialect: str) -> dict[str, Any]:
    """What the record keeps of the request."""
    return {"lora": request.file.name, "weight": request.weight, "dialect": dialect}


def _plan_within(project: Project | None, request: LoraRequest) -> LoraPlan:
    """The plan for a project that is open (None: one that does not exist yet)."""
    if request.keep < 0:
        raise UsageError(f"keep must not be negative, it is {request.keep}", fix="0 keeps no earlier model")
    if not isfinite(request.weight) or request.weight == 0:
        message = f"a weight of {request.weight:g} changes nothing that could be meant"
        raise UsageError(message, fix="choose a number such as 0.8")
    strategy = strategies.load(request.strategy, request.strategy_options)
    context = project_context(project, request.base)
    lora, found = read_layers(request.file, context)
    concept = _concept(request, lora.triggers, context.used_tokens)
    layers = {target: _scaled(factors, request.weight) for target, factors in found.items()}
    return LoraPlan(
        request=request,
        context=context,
        concept=concept,
        layers=layers,
        dialect=lora.dialect,
        prompt=request.prompt or ", ".join(lora.triggers[:1]) or f"a photo of {concept.trigger}",
        notes=lora.notes,
        sha256=file_sha256(request.file),
        state_level=strategy.state_level,
    )


def _concept(request: LoraRequest, triggers: tuple[str, ...], taken: tuple[str, ...]) -> Concept:
    """What the LoRA will be called: as given, by its own account, or by its file's name."""
    words = (*(" ".join(triggers[:1]).split()), *request.file.stem.split(), "lora")
    token = request.token or words[0]
    if token.casefold() in {other.casefold() for other in taken}:
        message = f"the token {token!r} belongs to an earlier concept already"
        raise UsageError(message, fix="give another one: --token NAME")
    return Concept(token, request.class_name or "LoRA")


def _scaled(factors: "Factors", weight: float) -> "Factors":
    """The same adapter at another strength."""
    from clora_ext.adapters.factors import Factors

    return Factors(factors.down, factors.up, factors.alpha * weight)


def _trained_concept(plan: LoraPlan) -> "TrainedConcept":
    """The LoRA as the strategy would have it."""
    import torch

    from clora_ext.adapters.factors import Factors
    from clora_ext.adapters.linalg import complement
    from clora_ext.evolving.fold import TrainedConcept

    strategy = strategies.load(plan.request.strategy, plan.request.strategy_options)
    evolving = plan.context.evolving()
    trained: dict[str, Factors] = {}
    for index, (target, factors) in enumerate(plan.layers.items()):
        layer = evolving.layer(target, "")
        rng = torch.Generator().manual_seed(index)
        closed = strategy.begin(layer, factors.rank, factors.alpha, rng).closed
        # What training would never have entered is taken out: a finished LoRA did not know of it.
        down = factors.down if closed is None else complement(factors.down, closed)
        trained[target.name] = Factors(down, factors.up, factors.alpha)
    targets = {target.name: target for target in plan.layers}
    return TrainedConcept(strategy, plan.request.strategy, targets, trained, imported=True)


def _record(plan: LoraPlan, state: State, sheet: str) -> ConceptRecord:
    """The concept's entry in the manifest."""
    request = plan.request
    return ConceptRecord(
        number=plan.context.number,
        token=plan.concept.token,
        class_name=plan.concept.class_name,
        images=(),
        dataset_fingerprint=plan.sha256,
        strategy=request.strategy,
        strategy_options=dict(request.strategy_options),
        state_level=plan.state_level,
        settings=_settings(request, plan.dialect),
        seed=0,
        parent_hash=plan.context.parent_hash,
        content_hash=state.content_hash,
        first_loss=None,
        last_loss=None,
        sheet=sheet,
        created=now(),
        clora_version=VERSION,
    )
