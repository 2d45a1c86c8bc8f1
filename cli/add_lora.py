"""`clora add-lora`: fold a finished LoRA into the evolving model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    DEFAULT_PROJECT,
    DEFAULT_STRATEGY,
    DEFAULTS,
    BaseOption,
    JsonOption,
    KeepOption,
    OrthogonalModeOption,
    ProjectOption,
    StrategyOption,
    strategy_options,
)
from .output import Output
from .runs import show_context, show_dry_run, teach

if TYPE_CHECKING:
    from clora_ext.runs.add_lora import LoraPlan

__all__ = ["EPILOG", "add_lora"]

EPILOG = (
    "Example: clora add-lora ./watercolour.safetensors\n\n"
    "Example: clora add-lora --weight 0.8 --token wtrclr --class-name style ./watercolour.safetensors"
)


def add_lora(  # noqa: PLR0913 - an argument for every option: Typer reads the command line so
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A LoRA as kohya, diffusers, ComfyUI or OneTrainer write it, .safetensors.",
            show_default=False,
        ),
    ],
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    base: BaseOption = None,
    token: Annotated[
        str | None,
        typer.Option(help="The word that calls it.", show_default="what the file says, else its name"),
    ] = None,
    class_name: Annotated[
        str | None, typer.Option(help="What kind of thing it is.", show_default="LoRA")
    ] = None,
    strategy: StrategyOption = DEFAULT_STRATEGY,
    orthogonal_mode: OrthogonalModeOption = None,
    weight: Annotated[float, typer.Option(help="Its strength, as in <lora:name:0.8>.")] = 1.0,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            "-p",
            help="Of the before/after sheet.",
            show_default="the trigger that the file names",
        ),
    ] = None,
    keep: KeepOption = DEFAULTS.keep,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen and stop.", rich_help_panel="This run")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fold a LoRA that somebody else has trained into the model, as a concept.

    The file is only read; nothing of it is kept but what the model has become.
    """
    from clora_ext.runs.add_lora import LoraRequest, make_lora_plan
    from clora_ext.runs.add_lora import add_lora as add_lora_run

    output = Output(as_json=as_json)
    request = LoraRequest(
        file=file,
        project=project,
        base=base,
        token=token,
        class_name=class_name,
        strategy=strategy,
        strategy_options=strategy_options(strategy, orthogonal_mode),
        weight=weight,
        prompt=prompt,
        keep=keep,
    )
    if dry_run:
        show_dry_run(make_lora_plan(request), _show_plan, output)
    else:
        teach(lambda sink, on_plan: add_lora_run(request, sink, on_plan), _show_plan, output, "folded in")


def _show_plan(plan: "LoraPlan", output: Output) -> None:
    """What was found, what it will be called, and what will be done with it."""
    request = plan.request
    show_context(plan.context, request.project, request.base, output)
    smallest, largest = plan.ranks
    rank = f"rank {smallest}" if smallest == largest else f"ranks {smallest} to {largest}"
    output.facts(
        {
            "LoRA": f"{plan.dialect}, {len(plan.layers)} layers, {rank}, weight {request.weight:g}",
            "token": f"{plan.concept.token} ({'as given' if request.token else 'from the file'})",
            "class": plan.concept.class_name,
            "strategy": f"{request.strategy}, state level {plan.state_level}",
        }
    )
    output.show("")
