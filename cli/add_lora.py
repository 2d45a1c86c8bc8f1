"""`clora add-lora`: fold a finished LoRA into the evolving model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completing
from .estimates import estimate_facts, show_shortage
from .option_groups import Base, Keeping, Strategy, with_groups
from .options import DEFAULT_PROJECT, DryRunOption, JsonOption, ProjectOption
from .output import Output
from .runs import (
    forgetting_facts,
    keep_delta_facts,
    prediction_facts,
    show_context,
    show_dry_run,
    show_notes,
    teach,
)

if TYPE_CHECKING:
    from clora_ext.runs.estimate import Estimate
    from clora_ext.runs.lora_material import LoraMaterial
    from clora_ext.runs.plan import Plan

__all__ = ["EPILOG", "add_lora"]

EPILOG = (
    "Example: clora add-lora ./watercolour.safetensors\n\n"
    "Example: clora add-lora --weight 0.8 --token wtrclr --class-name style ./watercolour.safetensors"
)


LoraArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A LoRA as kohya, diffusers, ComfyUI or OneTrainer write it, .safetensors; or one of an "
        "installed program: comfyui:NAME, a1111:NAME.",
        autocompletion=completing.loras,
        show_default=False,
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(help="The word that calls it.", show_default="what the file says, else its name"),
]
ClassNameOption = Annotated[str | None, typer.Option(help="What kind of thing it is.", show_default="LoRA")]
WeightOption = Annotated[float, typer.Option(help="Its strength, as in <lora:name:0.8>.")]
PromptOption = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        "-p",
        help="Prompt of the before/after sheet.",
        show_default="the trigger that the file names",
    ),
]


@with_groups
def add_lora(  # noqa: PLR0913 - an argument for every option: Typer reads the command line so
    file: LoraArgument,
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    start: Base,
    token: TokenOption = None,
    class_name: ClassNameOption = None,
    strategy: Strategy,
    weight: WeightOption = 1.0,
    prompt: PromptOption = None,
    keeping: Keeping,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fold a LoRA that somebody else has trained into the model, as a concept.

    The file is only read. The project keeps what the model has become, and the file's name and hash.
    """
    from clora_ext import strategies
    from clora_ext.config.settings import Settings
    from clora_ext.formats.installed import find_installed
    from clora_ext.runs.add_concept import add_concept
    from clora_ext.runs.make_plan import make_plan
    from clora_ext.runs.request import Lora, Request

    output = Output(as_json=as_json)
    options = strategies.read_pairs(strategy.strategy_option or ())
    request = Request(
        Lora(find_installed(file, "LoRA"), weight),
        project,
        token=token,
        class_name=class_name,
        settings=Settings.of(strategy=strategy.strategy, strategy_options=options, sample_prompt=prompt),
        **vars(start),
        **vars(keeping),
    )
    if dry_run:
        show_dry_run(make_plan(request), _show_plan_and_notes, output)
    else:
        teach(lambda sink, on_plan: add_concept(request, sink, on_plan), _show_plan, output, "added")


def _show_plan_and_notes(plan: "Plan", needed: "Estimate", output: Output) -> None:
    """The plan, and what a run says of the file when it reads it."""
    _show_plan(plan, needed, output)
    for note in _material(plan).notes:
        output.show(f"note: {note}")


def _material(plan: "Plan") -> "LoraMaterial":
    """The finished LoRA; this command makes no other plan."""
    from clora_ext.runs.lora_material import LoraMaterial

    assert isinstance(plan.material, LoraMaterial)  # noqa: S101
    return plan.material


def _show_plan(plan: "Plan", needed: "Estimate", output: Output) -> None:
    """What was found, what it will be called, and what will be done with it."""
    request, material = plan.request, _material(plan)
    show_context(plan.context, request.project, request.base, output)
    output.facts(
        {
            **prediction_facts(plan.context),
            "LoRA": f"{material.dialect}, weight {material.weight:g}",
            "changes": "; ".join(map(str, material.kinds)),
            "token": f"{plan.concept.token} ({'as given' if request.token else 'from the file'})",
            "class": plan.concept.class_name,
            "strategy": f"{plan.settings.strategy}, state level {plan.strategy.state_level}",
            **keep_delta_facts(plan),
            **forgetting_facts(plan),
            **estimate_facts(plan, needed),
        }
    )
    show_notes(plan.context, output)
    show_shortage(plan, needed, output)
    output.show("")
