"""Teach the evolving model one more concept from pictures: the straight line through all rooms."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from clora_ext import strategies
from clora_ext.data import Bucketed, Picture, batches, bucket_sizes, cover_corner, load_pixels, nearest
from clora_ext.errors import writing
from clora_ext.events import Note, Preview, Sink, Stage, ignore
from clora_ext.formats.pages import release_on_free
from clora_ext.project import ConceptRecord, Image, Project, State
from clora_ext.runs.plan import STATE_FILE, Plan, Request, plan_within
from clora_ext.sampling.samples import SamplePrompt
from clora_ext.version import VERSION

from .already_learned import find_learned
from .finish import fold_concept, now, sample_before, verify, write_contact_sheet
from .result import Result

if TYPE_CHECKING:
    from clora_ext.adapters.factors import Factors
    from clora_ext.adapters.sites import Target
    from clora_ext.evolving.fold import TrainedConcept
    from clora_ext.evolving.model import Evolving
    from clora_ext.families.base import Framing, Model
    from clora_ext.strategies.base import Start, Strategy
    from clora_ext.training.objective import Example

__all__ = ["add_concept"]


def add_concept(
    request: Request, sink: Sink = ignore, on_plan: Callable[[Plan], None] = lambda plan: None
) -> Result:
    """Train an adapter for the concept in ``request.images`` and fold it into the project's model.

    The project stays as it was until the very end; a stopped run resumes when it is asked for again, and
    what has been taught already is not taught twice.

    Args:
        request: what to do.
        sink: told what happens; may raise Cancelled to stop.
        on_plan: shown the plan before anything is loaded; may raise to stop.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    began = time.monotonic()
    with Project.writing(request.project) as project:
        known = find_learned(project, request)
        if known is not None:
            sink(Note(f"these pictures have been taught already, as concept {known.number}, in the same way"))
            return known
        plan = plan_within(project, request)
        on_plan(plan)
        context, prompt = plan.context, _prompt(plan)
        project.start(context.base)
        before = sample_before(context, prompt, sink)
        trained, losses = _train(plan, project, prompt, sink)
        concept = _trained_concept(plan, trained)
        trigger = (plan.concept.token, plan.concept.class_name)
        state = fold_concept(context, project, concept, trigger, sink)
        after = verify(context, project, state, prompt, sink)
        sheet = project.new_sheet(context.number, *trigger)
        write_contact_sheet(plan.sample_prompt, before, after, losses, sheet, sink)
        _keep_lora(plan, trained, sink)
        sink(Stage("commit"))
        project.commit(_record(plan, state, sheet.name, losses), state, keep=request.keep)
    first, last = _ends(losses)
    return Result(
        project=request.project,
        checkpoint=project.checkpoints_dir / state.checkpoint,
        content_hash=state.content_hash,
        number=context.number,
        trigger_prompt=plan.sample_prompt,
        sheet=sheet,
        first_loss=first,
        last_loss=last,
        seconds=time.monotonic() - began,
    )


def _prompt(plan: Plan) -> SamplePrompt:
    """What the sheet draws, at the training's size."""
    return SamplePrompt(plan.sample_prompt, plan.resolution - plan.resolution % plan.size_multiple)


def _trained_concept(plan: Plan, trained: "Mapping[str, Factors]") -> "TrainedConcept":
    """What the pictures have taught."""
    from clora_ext.evolving.fold import TrainedConcept

    targets = {target.name: target for target in plan.targets}
    return TrainedConcept(_strategy(plan), plan.settings.strategy, targets, trained)


def _strategy(plan: Plan) -> "Strategy":
    return strategies.load(plan.settings.strategy, plan.settings.strategy_options)


def _train(
    plan: Plan, project: Project, prompt: SamplePrompt, sink: Sink
) -> "tuple[dict[str, Factors], tuple[float, ...]]":
    """The concept's trained adapter and every step's loss."""
    from clora_ext.config.precision import pick_precision
    from clora_ext.training.loop import train

    precision = pick_precision()
    sink(Note(f"computing on: {precision.reason}"))
    evolving = plan.context.evolving()
    with release_on_free():
        starts = dict(_begin(plan, evolving))
    frozen = {target.name: start.frozen for target, start in starts.items()}
    model = plan.context.family.load(evolving.current, precision, frozen)
    sink(Stage("encode", f"{len(plan.dataset.pictures)} pictures"))
    sized = list(zip(plan.dataset.pictures, _sizes(plan), strict=True))
    _tell_what_is_cut(model, plan, sink)
    examples = [_example(model, plan, picture, size) for picture, size in sized]
    schedule = batches(
        [Bucketed(*size, picture.repeats) for picture, size in sized],
        plan.settings.data.batch_size,
        plan.settings.seed,
    )
    if not (plan.settings.adapter.text_encoder or plan.request.preview_every):
        model.drop_encoders()  # SDXL's take 3.6 GB in float32, and what they tell is known by now
    sink(Stage("train", f"{plan.settings.schedule.steps} steps"))
    return train(
        model,
        starts,
        examples,
        schedule.batch_at,
        plan.settings,
        precision,
        project.training_dir / STATE_FILE,
        plan.fingerprint,
        sink,
        _preview_callback(plan.request.preview_every, prompt, model, project.training_dir, sink),
    )


def _preview_callback(
    every: int, prompt: SamplePrompt, model: "Model", folder: Path, sink: Sink
) -> Callable[[int], None]:
    """Every so many steps, a picture in ``folder``."""

    def preview(step: int) -> None:
        if not every or step % every:
            return
        target = folder / f"preview-{step}.png"
        with writing(target):
            folder.mkdir(parents=True, exist_ok=True)
            prompt.sample_one(model).save(target)
        sink(Preview(step, target))

    return preview


def _begin(plan: Plan, evolving: "Evolving") -> "Iterator[tuple[Target, Start]]":
    """Every layer's start; each layer has a random generator of its own, so their order is free."""
    import torch

    strategy = _strategy(plan)
    settings = plan.settings
    for index, target in enumerate(plan.targets):
        rng = torch.Generator().manual_seed((settings.seed * 1_000_003 + index) % 2**63)
        layer = evolving.layer(target, settings.strategy)
        yield target, strategy.begin(layer, settings.adapter.rank, settings.adapter.effective_alpha, rng)


def _tell_what_is_cut(model: "Model", plan: Plan, sink: Sink) -> None:
    """Captions are never shortened in silence."""
    for picture in plan.dataset.pictures:
        cut = model.tokens_cut(picture.caption)
        if cut:
            sink(Note(f"the caption of {picture.path.name} is too long: its last {cut} tokens are not read"))


def _sizes(plan: Plan) -> list[tuple[int, int]]:
    """The size, (width, height) in pixels, at which each picture is trained."""
    sizes = bucket_sizes(plan.resolution, plan.size_multiple)
    return [nearest(picture.width, picture.height, sizes) for picture in plan.dataset.pictures]


def _example(model: "Model", plan: Plan, picture: Picture, size: tuple[int, int]) -> "Example":
    """Latents and conditioning of one picture, on the processor."""
    import torch

    from clora_ext.training.objective import Example

    pixels = load_pixels(picture, *size, convert=plan.request.convert)
    mean, deviation = model.encode_images(pixels.unsqueeze(0))
    framing = _framing(picture, size)
    condition = None
    if not plan.settings.adapter.text_encoder:
        with torch.no_grad():
            told = model.condition([picture.caption], [framing])
        condition = {name: value.float().cpu() for name, value in told.items()}
    return Example(mean[0].float().cpu(), deviation[0].float().cpu(), picture.caption, framing, condition)


def _framing(picture: Picture, size: tuple[int, int]) -> "Framing":
    """How :func:`load_pixels` cuts a picture to ``size``, (width, height) in pixels."""
    from clora_ext.families.base import Framing

    left, top = cover_corner(picture.width, picture.height, *size)
    return Framing((picture.height, picture.width), (top, left), (size[1], size[0]))


def _keep_lora(plan: Plan, trained: "Mapping[str, Factors]", sink: Sink) -> None:
    """The trained adapter as a file of its own, where the user has asked for it."""
    from clora_ext.runs.lora_files import write_layers

    if plan.request.export_lora is not None:
        layers = {target: trained[target.name] for target in plan.targets}
        write_layers(
            plan.request.export_lora, layers, plan.context, (plan.concept,), sink, plan=plan.fingerprint
        )


def _record(plan: Plan, state: State, sheet: str, losses: Sequence[float]) -> ConceptRecord:
    """The concept's entry in the manifest."""
    first, last = _ends(losses)
    return ConceptRecord(
        number=plan.context.number,
        token=plan.concept.token,
        class_name=plan.concept.class_name,
        images=tuple(Image(p.path.name, p.sha256, p.caption) for p in plan.dataset.pictures),
        dataset_fingerprint=plan.dataset.fingerprint,
        strategy=plan.settings.strategy,
        strategy_options=dict(plan.settings.strategy_options),
        state_level=plan.state_level,
        settings=plan.settings.as_dict(),
        seed=plan.settings.seed,
        parent_hash=plan.context.parent_hash,
        content_hash=state.content_hash,
        first_loss=first,
        last_loss=last,
        sheet=sheet,
        created=now(),
        clora_version=VERSION,
    )


def _ends(losses: Sequence[float]) -> tuple[float, float]:
    """Mean of the first and of the last tenth."""
    tenth = max(1, len(losses) // 10)
    return fmean(losses[:tenth]), fmean(losses[-tenth:])
