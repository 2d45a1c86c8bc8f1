"""`clora add-concept`: teach the evolving model one more concept."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import typer

from clora_ext.config.processes import own_place
from clora_ext.config.settings import Settings

from .configured import asked_on_the_line, given_on_the_line
from .fitting import fitted_to
from .following import along
from .knobs import with_knobs
from .option_groups import Base, Keeping, Strategy, with_groups
from .options import DEFAULT_PROJECT, DryRunOption, JsonOption, ProjectOption
from .output import Output
from .picture_options import (
    BadPictures,
    Beside,
    ConfigFiles,
    CropSheetOption,
    ImagesArgument,
    MemoryOption,
    Names,
    PresetOption,
)
from .picture_plan import show_picture_plan
from .runs import show_dry_run, teach

if TYPE_CHECKING:
    from clora_ext.kohya.asked import Asked
    from clora_ext.runs.request import Pictures

__all__ = ["EPILOG", "add_concept"]

EPILOG = (
    "Example: clora add-concept ./dog_images\n\nThen: clora add-concept --class-name toy --steps 300 ./my_toy"
)


@with_knobs(Settings, after="preset")
@with_groups
def add_concept(  # noqa: PLR0913 - an argument for every option: Typer reads the command line so
    context: typer.Context,
    images: ImagesArgument = None,
    *,
    configs: ConfigFiles,
    project: ProjectOption = DEFAULT_PROJECT,
    start: Base,
    names: Names,
    strategy: Strategy,
    preset: PresetOption = "balanced",
    memory: MemoryOption = None,
    beside: Beside,
    crop_sheet: CropSheetOption = None,
    keeping: Keeping,
    bad: BadPictures,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    **knobs: object,
) -> None:
    """Teach the model one more concept.

    Trains a LoRA on the pictures and folds it into the model. Ctrl-C saves; the same command goes on.
    """
    from clora_ext.runs.add_concept import add_concept as add_concept_run
    from clora_ext.runs.asked_settings import asked_settings, with_scorer
    from clora_ext.runs.follow import follow
    from clora_ext.runs.make_plan import make_plan
    from clora_ext.runs.request import Request, asked_statements
    from clora_ext.runs.suggested import suggested_settings

    leads = own_place().leads
    output = Output(as_json=as_json, is_silent=not leads)
    stated = {"base": start.base, "prediction": start.prediction, "zero_snr": start.zero_snr}
    flags = {"images": images, **stated, **vars(names), **vars(beside)}
    files = [file for file in vars(configs).values() if file is not None]
    asked = asked_on_the_line(context, files, flags, strategy, knobs, output)
    statements = asked_statements(asked.prediction, zero_snr=asked.zero_snr, variant=start.variant)
    suitable = suggested_settings(project, asked.base, statements)
    base = replace(start, base=asked.base, prediction=asked.prediction, zero_snr=asked.zero_snr)
    request = Request(
        source=_source(asked, bad),
        project=project,
        token=asked.token,
        class_name=asked.class_name,
        settings=asked_settings(suitable, preset, with_scorer(keeping.scorer, asked.settings)),
        **vars(base),
        **vars(keeping),
    )
    chosen = {*given_on_the_line(context, knobs), *asked.origins}
    request = fitted_to(memory, request, chosen, output)
    show_plan = partial(show_picture_plan, crop_sheet=crop_sheet)
    if not leads:
        if not dry_run:
            along(lambda sink: follow(request, sink))
    elif dry_run:
        show_dry_run(make_plan(request), show_plan, output)
    else:
        teach(lambda sink, on_plan: add_concept_run(request, sink, on_plan), show_plan, output, "learned")


def _source(asked: "Asked", bad: BadPictures) -> "Pictures":
    """The pictures, and what lies beside the project, as command line and files ask together."""
    from clora_ext.runs.request import Pictures

    return Pictures(
        asked.folder,
        export_lora=asked.export_lora,
        subsets=asked.subsets,
        log_dir=asked.log_dir,
        log_prefix=asked.log_prefix,
        wandb_project=asked.wandb_project,
        wandb_name=asked.wandb_name,
        start_from=asked.start_from,
        cache_dir=asked.cache_dir,
        vae=asked.vae,
        preview_prompts=asked.preview_prompts,
        **vars(bad),
    )
