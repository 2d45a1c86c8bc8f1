"""What a training begins with: the model with fresh adapters inside, encoded pictures, an objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target
from clora_ext.config.processes import ALONE
from clora_ext.events import Note, Sink
from clora_ext.families.computed_weights import ComputedWeights
from clora_ext.formats.text import size
from clora_ext.formats.training_state import STATE_FILE

from .baseline import remember_baseline
from .encode import Encoded, encode_pictures
from .kept_encodings import encodings_of
from .kept_texts import read_texts
from .layer_rank import layer_rank
from .memory_remedies import training_remedies
from .objective import objective_of
from .observe import Observed
from .plan import Plan
from .precision import training_precision_of
from .prepared import PreparedRun
from .previews import PreviewPrompt
from .replay import EncodedReplay, encode_replay
from .step_examples import first_shown, pixels_change, step_examples
from .text_reading import text_reading
from .token_rows import own_rows

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.adapters.factors import Factors
    from clora_ext.config.precision import Precision
    from clora_ext.evolving.model import Evolving
    from clora_ext.families.model import Model
    from clora_ext.strategies.base import Start
    from clora_ext.strategies.objective import Example
    from clora_ext.training.adapters import Adapters, AdapterStart
    from clora_ext.training.convergence import Convergence
    from clora_ext.training.joint_passes import JointPasses
    from clora_ext.training.team import Team
    from clora_ext.training.training import Training
    from clora_ext.training.validation import Validation

__all__ = ["BegunTraining", "begin_training"]


@dataclass(frozen=True, slots=True)
class BegunTraining:
    """A training before its first step.

    Attributes:
        training: the adapters are inside its model.
        model: the one that learns.
        drawing: the same network with the checkpoint's own VAE.
        rows: of the tables of tokens that learn too, with their tokens.
        examples: every picture of the plan.
        started: factors of the adapters that did not begin as nothing, by :attr:`Target.name`.
        precision: where the model lies.
    """

    training: "Training"
    model: "Model"
    drawing: "Model"
    rows: Mapping[Target, int]
    examples: "Sequence[Example]"
    started: "Mapping[str, Factors]"
    precision: "Precision"


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What was made while the model was still the one before the training.

    Attributes:
        starts: of the adapters, by layer.
        rows: of the tables of tokens that learn too, with their tokens.
        encoded: the pictures.
        replay: what the model before is asked again; None: nothing.
    """

    starts: "Mapping[Target, AdapterStart]"
    rows: Mapping[Target, int]
    encoded: Encoded
    replay: EncodedReplay | None


def begin_training(
    run: PreparedRun, asked: Sequence[PreviewPrompt], team: "Team | None", sink: Sink
) -> BegunTraining:
    """Load the model, encode everything, and put the adapters in.

    Args:
        run: of pictures.
        asked: what is drawn while it is trained.
        team: the processes that train together; None: this one alone.
        sink: told what happens.

    Raises:
        OutOfMemory: it does not fit.
    """
    from clora_ext.config.memory import reporting_out_of_memory

    plan, precision = run.plan, training_precision_of(run.plan)
    if team is not None and precision.shards_denoiser:
        team.go_in_step()
    sink(Note(f"computing on: {precision.reason}"))
    drawing, begun = _load(plan, run.before, precision)
    if plan.settings.compute.fp8_base:
        drawing.store_in_8_bits()
    model = drawing if plan.vae is None else drawing.with_vae(plan.vae)
    started = {target.name: one.factors for target, one in begun.items() if one.factors.up.any()}
    starts = {target: _start(plan, target, one) for target, one in begun.items()}
    rows = own_rows(plan, run.concept, run.earlier)
    reading = text_reading(plan, precision, ALONE if team is None else team.place)
    with model.reading_once():  # many captions are alike
        replay = encode_replay(run, model)
        encodings = encodings_of(model, plan, plan.cache_dir)
        # On the processor a VAE that leaves frees nothing: no step waits for a picture of another one.
        at_once = precision.device.type != "cpu"
        by_picture = reading.kept == "pictures"
        encoded = encode_pictures(model, plan, encodings, sink, text_changes=not by_picture, at_once=at_once)
        if not reading.stays:
            _remember_drawn(run, asked, model)
            read_texts(reading, model, encodings, precision, sink)
            model.drop_text_encoders()
        if reading.note:
            sink(Note(reading.note))
    _free_vaes(plan, drawing, model, previews_are_drawn=bool(asked))
    with reporting_out_of_memory("training", training_remedies(plan)):
        # The adapters have values of their own, where the model lies.
        training = _training(run, model, _Beginning(starts, rows, encoded, replay), precision, team)
        if training.joint is not None:
            sink(Note(_shared_out(model, training.processes)))
    return BegunTraining(training, model, drawing, rows, encoded.examples, started, precision)


def _remember_drawn(run: PreparedRun, asked: Sequence[PreviewPrompt], model: "Model") -> None:
    """Have the model read all that is drawn until the training has ended."""
    remember_baseline(run, model)
    for prompt in (*(one.drawn for one in asked), *map(run.prompt.of, run.needs.inputs_after)):
        prompt.remember(model)


def _free_vaes(plan: Plan, drawing: "Model", model: "Model", *, previews_are_drawn: bool) -> None:
    """The model's own and another one, as far as they have nothing to do while it is trained."""
    idle = {one.picture_encoder: one for one in (drawing, model)}
    if previews_are_drawn:
        del idle[drawing.picture_encoder]
    if pixels_change(plan):
        idle.pop(model.picture_encoder, None)
    for one in idle.values():
        one.lay_vae_aside()


def _training(
    run: PreparedRun,
    model: "Model",
    beginning: _Beginning,
    precision: "Precision",
    team: "Team | None",
) -> "Training":
    """The training of the plan, with its adapters inside the model."""
    from clora_ext.training.adapters import Adapters
    from clora_ext.training.token_rows import TokenRows
    from clora_ext.training.training import Training

    plan = run.plan
    place = ALONE if team is None else team.place
    network, seed = plan.settings.network, plan.settings.seed
    adapters = Adapters(model, beginning.starts, precision.device, network, seed, place)
    rows = TokenRows(model, beginning.rows, precision.device) if beginning.rows else None
    encoded = beginning.encoded
    return Training(
        model=model,
        adapters=adapters,
        token_rows=rows,
        row_rate=plan.strategy.row_rate(),
        ema_decay=plan.ema_decay,
        objective=objective_of(run, model, adapters, beginning.replay, precision.device, place),
        examples=encoded.examples,
        batch_at=step_examples(encoded, plan, model, place),
        prepare=first_shown(encoded, plan),
        settings=plan.settings,
        precision=precision,
        state_file=run.project.training_dir / STATE_FILE,
        fingerprint=plan.fingerprint,
        concept=plan.concept.trigger,
        validation=_validation(plan, encoded),
        convergence=_convergence(plan, encoded),
        team=team,
        joint=_joint(model, adapters, precision, team),
    )


def _joint(
    model: "Model", adapters: "Adapters", precision: "Precision", team: "Team | None"
) -> "JointPasses | None":
    """Share the weights out where that is asked for; None: each process has all of them."""
    from clora_ext.training.joint_passes import JointPasses

    if team is None or not precision.shards_denoiser:
        return None
    trained = list(adapters.parameters.values())
    model.shard_denoiser(trained)
    return JointPasses(model.denoiser, trained, team, precision)


def _shared_out(model: "Model", processes: int) -> str:
    """What this process has of the weights, for people."""
    from clora_ext.families.sharded import own_bytes

    own, every = own_bytes(model.denoiser)
    return f"weights shared out over {processes} processes: {size(own)} of {size(every)} in this one"


def _validation(plan: Plan, encoded: Encoded) -> "Validation | None":
    """What is asked while it trains; None: nothing is held out."""
    from clora_ext.training.held_out import spread
    from clora_ext.training.validation import Validation

    if not encoded.held_out:
        return None
    settings = plan.settings
    shown = [encoded.held_out[number] for number in spread(len(encoded.held_out))]
    every, keep_best = settings.sampling.validate_every, settings.validation.keep_best
    return Validation(shown, every, plan.own_batch_size, keep_best)


def _convergence(plan: Plan, encoded: Encoded) -> "Convergence | None":
    """What ends it when nothing more is learned; None: its last step does."""
    from clora_ext.training.convergence import DRAWS, Convergence
    from clora_ext.training.held_out import spread

    if not plan.settings.stopping.until_converged:
        return None
    shown = [encoded.examples[number] for number in spread(len(encoded.examples))[:DRAWS]]
    schedule = plan.settings.schedule
    return Convergence(shown, plan.own_batch_size, schedule.steps, schedule.warmup_steps)


def _start(plan: Plan, target: Target, begun: "AdapterStart") -> "AdapterStart":
    """Where a layer's adapter starts: as the strategy has it, or as a LoRA that is learned further."""
    return begun if plan.starting is None else plan.starting.begun(target, begun)


def _load(plan: Plan, before: Observed, precision: "Precision") -> "tuple[Model, dict[Target, AdapterStart]]":
    """The model with every layer's frozen weight, and where its adapters start by the strategy.

    A layer begins when the model asks for its frozen weight, which is then copied: of SDXL's attention they
    are 4 GB together.
    """
    from clora_ext.training.adapters import AdapterStart

    evolving = plan.context.evolving()
    numbers = {target.name: number for number, target in enumerate(plan.targets)}
    begun: dict[int, AdapterStart] = {}

    def begin(number: int) -> "Tensor":
        start = _begin(plan, evolving, before, number)
        begun[number] = AdapterStart(start.factors, start.constraint)
        return start.frozen

    frozen = ComputedWeights(numbers, lambda name: begin(numbers[name]))
    model = plan.context.family.load(evolving.current, precision, frozen).reading(plan.settings.prompts)
    return model, {target: begun[number] for number, target in enumerate(plan.targets)}


def _begin(plan: Plan, evolving: "Evolving", before: Observed, number: int) -> "Start":
    """A layer's start; each layer has a random generator of its own, so their order is free."""
    import torch

    settings, target = plan.settings, plan.targets[number]
    rng = torch.Generator().manual_seed((settings.seed * 1_000_003 + number) % 2**63)
    layer = before.with_inputs(evolving.layer(target, settings.strategy), target)
    lora = layer_rank(target, settings)
    return plan.strategy.begin(layer, lora.rank, lora.alpha, rng)
