"""What `clora add-concept` says before it begins."""

from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.config.algorithm_settings import OPTIMIZERS
from clora_ext.config.settings import Settings

from .estimates import estimate_facts, show_shortage
from .lora_facts import lora_facts
from .output import Output
from .runs import forgetting_facts, keep_delta_facts, prediction_facts, show_context, show_notes
from .tables import dataset_summary, dataset_table
from .wording import counted, printable

if TYPE_CHECKING:
    from clora_ext.runs.estimate import Estimate
    from clora_ext.runs.plan import Plan

__all__ = ["show_picture_plan"]


def show_picture_plan(plan: "Plan", needed: "Estimate", output: Output, *, crop_sheet: Path | None) -> None:
    """What was found, what it will be called, and what will be done with it."""
    from clora_ext.runs.crop_sheet import write_crop_sheet

    request, settings = plan.request, plan.settings
    show_context(plan.context, request.project, request.base, output)
    output.show(dataset_table(plan.dataset, output.answers.width))
    output.show(dataset_summary(plan.dataset))
    if crop_sheet is not None:
        output.show(
            f"{crop_sheet} shows how {counted(write_crop_sheet(plan, crop_sheet), 'picture')} are cut"
        )
    output.show("")
    noun = "as given" if request.class_name else "from the folder's name"
    output.facts(
        {
            **prediction_facts(plan.context),
            "token": f"{plan.concept.token} ({plan.concept.token_from})",
            "class": f"{plan.concept.class_name} ({noun})",
            "strategy": f"{settings.strategy}, state level {plan.strategy.state_level}{_cost(plan)}",
            "training": f"{_steps(settings)} of {_batch(plan)} "
            f"at {_sizes(plan)} px, rate {_rate(settings)}, seed {settings.seed}",
            **lora_facts(plan),
            **_kept(plan),
            **({} if plan.vae is None else {"VAE": f"{printable(plan.vae)}; the model keeps its own"}),
            **({} if plan.cache_dir is None else {"encodings": f"kept in {printable(plan.cache_dir)}"}),
            **keep_delta_facts(plan),
            **forgetting_facts(plan),
            **estimate_facts(plan, needed),
        }
    )
    show_notes(plan.context, output)
    show_shortage(plan, needed, output)
    if plan.resume_step:
        output.show(
            f"going on from step {plan.resume_step} of {settings.schedule.steps}, where it was stopped"
        )
    output.show("")


def _kept(plan: "Plan") -> dict[str, str]:
    """How the weights that are trained against are kept, where that is not as usual."""
    settings, told = plan.settings, []
    if settings.compute.fp8_base:
        told.append("the UNet's weights rounded to 8 bits while it is trained; folded into the exact ones")
    if settings.compute.offload_base:
        told.append("the UNet's weights in the machine's memory, copied for each layer while it computes")
    if settings.compute.shard:
        told.append(f"the UNet's weights shared out over {plan.processes} processes while it is trained")
    return {"base": "; ".join(told)} if told else {}


def _cost(plan: "Plan") -> str:
    """How much longer a step takes for what is asked beside it."""
    from clora_ext.runs.replay import times_a_plain_step

    times = times_a_plain_step(plan.strategy, plan.settings)
    return "" if times == 1 else f"; a step takes about {times:.1f} times a plain one"


def _sizes(plan: "Plan") -> str:
    """The side of the square whose area pictures get, or width and height; of folders that differ, all."""
    subsets = {one.subset for one in plan.dataset.pictures}
    sides = {
        f"{one.sides[0]} x {one.sides[1]}" if one.sides else f"{one.resolution or plan.resolution}"
        for one in subsets
    }
    return " and ".join(sorted(sides))


def _steps(settings: Settings) -> str:
    """How long, in steps, and in epochs where they were asked for."""
    steps, epochs = f"{settings.schedule.steps} steps", settings.schedule.epochs
    return steps if epochs is None else f"{steps}, {counted(epochs, 'epoch')},"


def _batch(plan: "Plan") -> str:
    """Pictures in a step, of as many batches and processes as it takes."""
    each, size = plan.settings.algorithm.gradient_accumulation_steps, plan.settings.data.batch_size
    shared = "" if plan.processes == 1 else f" ({plan.own_batch_size} in each of {plan.processes} processes)"
    return f"{size}{shared}" if each == 1 else f"{each} x {size}{shared}"


def _rate(settings: Settings) -> str:
    """The learning rate, how it goes where it does not stay, and of which optimiser it is."""
    optimizer, scheduler = settings.algorithm.optimizer_type, settings.rate.lr_scheduler
    own = " times its own" if OPTIMIZERS[optimizer].own_rate else ""
    rate = f"{settings.optimizer.learning_rate:g}{own}"
    rate = rate if scheduler == "constant" else f"{rate} ({scheduler})"
    return rate if optimizer == "AdamW" else f"{rate} of {optimizer}"
