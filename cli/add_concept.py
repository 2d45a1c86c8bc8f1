"""`clora add-concept`: teach the evolving model one more concept."""

from functools import partial
from typing import Any

import typer

from clora_ext.config.processes import own_place
from clora_ext.config.settings import Settings

from .configured import asked_on_the_line, given_on_the_line
from .fitting import fitted_to
from .following import along
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
    TextEncoderFileOption,
    VaeFileOption,
    VariantOption,
    ZeroSnrOption,
)
from .output import Output
from .picture_options import (
    CacheDirOption,
    ClassNameOption,
    ConfigOption,
    ConvertOption,
    CropSheetOption,
    DatasetConfigOption,
    ExportLoraOption,
    ImagesArgument,
    LogDirOption,
    MemoryOption,
    PresetOption,
    PreviewPromptsOption,
    SkipBadOption,
    StartFromOption,
    TokenOption,
    VaeOption,
    WandbOption,
)
from .picture_plan import show_picture_plan
from .runs import show_dry_run, teach

__all__ = ["EPILOG", "add_concept"]

EPILOG = (
    "Example: clora add-concept ./dog_images\n\nThen: clora add-concept --class-name toy --steps 300 ./my_toy"
)


@with_knobs(Settings, after="preset")
def add_concept(  # noqa: PLR0913 - an argument for every option: Typer reads the command line so
    context: typer.Context,
    images: ImagesArgument = None,
    *,
    config: ConfigOption = None,
    dataset_config: DatasetConfigOption = None,
    project: ProjectOption = DEFAULT_PROJECT,
    base: BaseOption = None,
    prediction: PredictionOption = None,
    zero_snr: ZeroSnrOption = None,
    text_encoder_file: TextEncoderFileOption = None,
    vae_file: VaeFileOption = None,
    variant: VariantOption = None,
    token: TokenOption = None,
    class_name: ClassNameOption = None,
    strategy: StrategyOption = DEFAULT_STRATEGY,
    strategy_option: StrategyOptions = None,
    preset: PresetOption = "balanced",
    memory: MemoryOption = None,
    export_lora: ExportLoraOption = None,
    start_from: StartFromOption = None,
    log_dir: LogDirOption = None,
    wandb: WandbOption = None,
    preview_prompts: PreviewPromptsOption = None,
    vae: VaeOption = None,
    cache_dir: CacheDirOption = None,
    crop_sheet: CropSheetOption = None,
    keep: KeepOption = DEFAULT_KEEP,
    keep_delta: KeepDeltaOption = False,
    scorer: ScorerOption = None,
    max_forgetting: MaxForgettingOption = None,
    skip_bad: SkipBadOption = False,
    convert: ConvertOption = False,
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
    from clora_ext.runs.request import Pictures, Request, asked_statements
    from clora_ext.runs.suggested import suggested_settings

    leads = own_place().leads
    output = Output(as_json=as_json, is_silent=not leads)
    beside: dict[str, Any] = {
        "images": images,
        "base": base,
        "prediction": prediction,
        "zero_snr": zero_snr,
        "export_lora": export_lora,
        "token": token,
        "class_name": class_name,
        "log_dir": log_dir,
        "wandb_project": wandb,
        "start_from": start_from,
        "cache_dir": cache_dir,
        "vae": vae,
        "preview_prompts": preview_prompts,
    }
    files = [file for file in (config, dataset_config) if file is not None]
    asked = asked_on_the_line(context, files, beside, (strategy, strategy_option), knobs, output)
    statements = asked_statements(asked.prediction, zero_snr=asked.zero_snr)
    suitable = suggested_settings(project, asked.base, statements, variant)
    settings = asked_settings(suitable, preset, with_scorer(scorer, asked.settings))
    request = Request(
        source=Pictures(
            asked.folder,
            skip_bad=skip_bad,
            convert=convert,
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
        text_encoder_file=text_encoder_file,
        vae_file=vae_file,
        variant=variant,
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
