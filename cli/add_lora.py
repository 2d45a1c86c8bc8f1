"""`clora add-lora`: fold a finished LoRA into the evolving model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

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
from .output import Output, tick
from .watching import watching
from .wording import command, duration

if TYPE_CHECKING:
    from clora_ext.teaching import LoraPlan, LoraRequest, LoraResult

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
    from clora_ext.teaching import LoraRequest, make_lora_plan

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
        plan = make_lora_plan(request)
        _show_plan(plan, output)
        output.show("a dry run: nothing was changed")
        output.result({"dry_run": True, "plan": plan.as_dict()})
    else:
        _fold(request, output)


def _fold(request: "LoraRequest", output: Output) -> None:
    """The run itself, with everything that is seen of it."""
    from clora_ext.teaching import add_lora as fold

    with watching(output) as (sink, stop):

        def on_plan(plan: "LoraPlan") -> None:
            stop.check()
            _show_plan(plan, output)
            if output.as_json:
                output.plan(plan.as_dict())

        result = fold(request, sink, on_plan)
    _show_result(result, request, output)
    output.result(result.as_dict())


def _show_plan(plan: "LoraPlan", output: Output) -> None:
    """What was found, what it will be called, and what will be done with it."""
    ground, request = plan.ground, plan.request
    if ground.new_project:
        on = "the built-in demo model" if request.base is None else ground.base_file
        output.show(f"no project in {request.project} yet: starting one on {on}")
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


def _show_result(result: "LoraResult", request: "LoraRequest", output: Output) -> None:
    """What was made, and what to do with it."""
    output.show("")
    done = f"concept {result.number} is folded in"
    output.show(Text.assemble(tick(output.answers), (done, "bold green"), f"  in {duration(result.seconds)}"))
    output.facts(
        {
            "checkpoint": result.checkpoint,
            "content": result.content_hash,
            "prompt": result.trigger_prompt,
            "sheet": result.sheet,
        }
    )
    output.show("")
    elsewhere: list[str | Path] = [] if request.project == DEFAULT_PROJECT else ["--project", request.project]
    output.show(f"next: {command('clora', 'generate', '-p', result.trigger_prompt, *elsewhere)}")
