"""`clora add-concept`: teach the evolving model one more concept."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clora_ext.config.presets import preset_summaries
from clora_ext.config.settings import Settings
from clora_ext.formats.text import quoted

from . import completing
from .configured import asked_on_the_line
from .estimates import estimate_facts, show_shortage
from .knobs import with_knobs
from .options import (
    DEFAULT_KEEP,
    DEFAULT_PROJECT,
    DEFAULT_STRATEGY,
    BaseOption,
    DryRunOption,
    JsonOption,
    KeepDeltaOption,
    KeepOption,
    MaxForgettingOption,
    PredictionOption,
    ProjectOption,
    ScorerOption,
    StrategyOption,
    StrategyOptions,
    ZeroSnrOption,
)
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
from .tables import dataset_summary, dataset_table
from .wording import counted

if TYPE_CHECKING:
    from clora_ext.runs.estimate import Estimate
    from clora_ext.runs.plan import Plan

__all__ = ["EPILOG", "add_concept"]

EPILOG = (
    "Example: clora add-concept ./dog_images\n\nThen: clora add-concept --class-name toy --steps 300 ./my_toy"
)
_TRAINING = "Training"
_RUN = "This run"


@with_knobs(Settings, after="preset")
def add_concept(  # noqa: PLR0913 - an argument for every option: Typer reads the command line so
    context: typer.Context,
    images: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGES",
            help="A folder of pictures; a kohya folder (10_sks dog); or a folder of kohya folders. "
            "Captions: .txt or .caption files beside the pictures. May be left out where a configuration "
            "file names it.",
            show_default=False,
        ),
    ] = None,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="A training file of sd-scripts (TOML or JSON); options given besides count more. "
            "clora config check tells what it asks for.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None,
    dataset_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A dataset file of sd-scripts.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    base: BaseOption = None,
    prediction: PredictionOption = None,
    zero_snr: ZeroSnrOption = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="A rare word that will call the concept.",
            show_default="from the folder's name, else the next unused one",
        ),
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option(help="What kind of thing it is: dog, toy, ...", show_default="from the folder's name"),
    ] = None,
    strategy: StrategyOption = DEFAULT_STRATEGY,
    strategy_option: StrategyOptions = None,
    preset: Annotated[
        str,
        typer.Option(
            help=preset_summaries(),
            autocompletion=completing.presets,
            metavar="NAME",
            rich_help_panel=_TRAINING,
        ),
    ] = "balanced",
    export_lora: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the trained LoRA too, as a kohya .safetensors file outside of the project.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write loss, rate and validation for TensorBoard too.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    crop_sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a PNG that shows how each picture is cut; with --dry-run nothing else is done.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    keep: KeepOption = DEFAULT_KEEP,
    keep_delta: KeepDeltaOption = False,
    scorer: ScorerOption = None,
    max_forgetting: MaxForgettingOption = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be used.", rich_help_panel=_RUN)
    ] = False,
    convert: Annotated[
        bool,
        typer.Option(
            "--convert", help="Accept pictures that look different as 8-bit RGB.", rich_help_panel=_RUN
        ),
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    **knobs: object,
) -> None:
    """Teach the model one more concept.

    Trains a LoRA on the pictures and folds it into the model. Ctrl-C saves; the same command goes on.
    """
    from clora_ext.runs.add_concept import add_concept as add_concept_run
    from clora_ext.runs.asked_settings import asked_settings
    from clora_ext.runs.context import suggested_settings
    from clora_ext.runs.make_plan import make_plan
    from clora_ext.runs.request import Pictures, Request, asked_statements

    output = Output(as_json=as_json)
    beside: dict[str, Any] = {
        "images": images,
        "base": base,
        "prediction": prediction,
        "zero_snr": zero_snr,
        "export_lora": export_lora,
        "token": token,
        "class_name": class_name,
        "log_dir": log_dir,
    }
    files = [file for file in (config, dataset_config) if file is not None]
    asked = asked_on_the_line(context, files, beside, (strategy, strategy_option), knobs, output)
    statements = asked_statements(asked.prediction, zero_snr=asked.zero_snr)
    settings = asked_settings(suggested_settings(project, asked.base, statements), preset, asked.settings)
    request = Request(
        source=Pictures(
            asked.folder,
            skip_bad=skip_bad,
            convert=convert,
            export_lora=asked.export_lora,
            subsets=asked.subsets,
            log_dir=asked.log_dir,
            log_prefix=asked.log_prefix,
        ),
        project=project,
        base=asked.base,
        token=asked.token,
        class_name=asked.class_name,
        settings=settings,
        keep=keep,
        prediction=asked.prediction,
        zero_snr=asked.zero_snr,
        keep_delta=keep_delta,
        scorer=scorer,
        max_forgetting=max_forgetting,
    )
    show_plan = partial(_show_plan, crop_sheet=crop_sheet)
    if dry_run:
        show_dry_run(make_plan(request), show_plan, output)
    else:
        teach(lambda sink, on_plan: add_concept_run(request, sink, on_plan), show_plan, output, "learned")


def _show_plan(plan: "Plan", needed: "Estimate", output: Output, *, crop_sheet: Path | None) -> None:
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
            "training": f"{_steps(settings)} of {settings.data.batch_size} "
            f"at {_sizes(plan)} px, rate {settings.optimizer.learning_rate:g}, seed {settings.seed}",
            "adapter": f"rank {settings.adapter.rank}, alpha {settings.adapter.effective_alpha:g}, "
            f"in {len(plan.targets)} layers, {plan.parameters:,} parameters{_own_row(plan)}",
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


def _cost(plan: "Plan") -> str:
    """How much longer a step takes for what the strategy asks beside it."""
    from clora_ext.runs.replay import times_a_plain_step

    times = times_a_plain_step(plan.strategy, plan.settings.data.batch_size)
    return "" if times == 1 else f"; a step takes about {times:.1f} times a plain one"


def _sizes(plan: "Plan") -> str:
    """The side of the square whose area pictures get; of folders that differ, all of them."""
    sides = {one.subset.resolution or plan.resolution for one in plan.dataset.pictures}
    return " and ".join(map(str, sorted(sides)))


def _steps(settings: Settings) -> str:
    """How long, in steps, and in epochs where they were asked for."""
    steps, epochs = f"{settings.schedule.steps} steps", settings.schedule.epochs
    return steps if epochs is None else f"{steps}, {counted(epochs, 'epoch')},"


def _own_row(plan: "Plan") -> str:
    """What learns beside the adapter."""
    if not plan.strategy.row_rate():
        return ""
    return f"; and what the text encoder reads {quoted(plan.concept.token)} as"
