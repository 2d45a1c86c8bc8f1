"""Arguments and options of `clora add-concept`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from clora_ext.config.presets import preset_summaries

from . import completing

__all__ = [
    "BadPictures",
    "Beside",
    "ConfigFiles",
    "CropSheetOption",
    "ImagesArgument",
    "MemoryOption",
    "Names",
    "PresetOption",
]

_TRAINING = "Training"
_RUN = "This run"

ImagesArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="IMAGES",
        help="A folder of pictures; a kohya folder (10_sks dog); or a folder of kohya folders. "
        "Captions: .txt or .caption files beside the pictures. May be left out where a configuration "
        "file names it.",
        show_default=False,
    ),
]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A training file of sd-scripts (TOML or JSON); options given besides count more. "
        "clora config check tells what it asks for.",
        rich_help_panel=_TRAINING,
        show_default=False,
    ),
]

DatasetConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A dataset file of sd-scripts.",
        rich_help_panel=_TRAINING,
        show_default=False,
    ),
]

TokenOption = Annotated[
    str | None,
    typer.Option(
        help="A rare word that will call the concept.",
        show_default="from the folder's name, else the next unused one",
    ),
]

ClassNameOption = Annotated[
    str | None,
    typer.Option(help="What kind of thing it is: dog, toy, ...", show_default="from the folder's name"),
]

PresetOption = Annotated[
    str,
    typer.Option(
        help=preset_summaries(),
        autocompletion=completing.presets,
        metavar="NAME",
        rich_help_panel=_TRAINING,
    ),
]

MemoryOption = Annotated[
    str | None,
    typer.Option(
        metavar="GB",
        help="Fit into a card of so much memory, such as 8, or into what is here: auto; how is told.",
        rich_help_panel=_TRAINING,
        show_default=False,
    ),
]

ExportLoraOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep the trained LoRA too, as a kohya .safetensors file outside of the project.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]

StartFromOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Begin as this LoRA instead of as nothing; its rank and alpha are taken.",
        rich_help_panel=_TRAINING,
        show_default=False,
    ),
]

LogDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Write loss, rate and validation for TensorBoard too.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]

WandbOption = Annotated[
    str | None,
    typer.Option(
        "--wandb",
        metavar="PROJECT",
        help="Send the same numbers and the settings to this project at Weights & Biases.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]

PreviewPromptsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Prompts that are drawn with the previews: .txt, .toml or .json, as sd-scripts reads them.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]

VaeOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Encode with this VAE; the model keeps its own.",
        rich_help_panel=_TRAINING,
        show_default=False,
    ),
]

CacheDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Keep there what the encoders say of pictures and captions, for the next run on them.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]

CropSheetOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write a PNG that shows how each picture is cut; with --dry-run nothing else is done.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]

SkipBadOption = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out files that cannot be used.", rich_help_panel=_RUN)
]

ConvertOption = Annotated[
    bool,
    typer.Option("--convert", help="Accept pictures that look different as 8-bit RGB.", rich_help_panel=_RUN),
]


@dataclass(frozen=True)
class ConfigFiles:
    """What else says what is asked for."""

    config: ConfigOption = None
    dataset_config: DatasetConfigOption = None


@dataclass(frozen=True)
class Names:
    """What the concept is called; the names are the request's."""

    token: TokenOption = None
    class_name: ClassNameOption = None


@dataclass(frozen=True)
class Beside:
    """Files that a training reads and writes beside the project, by the request's names."""

    export_lora: ExportLoraOption = None
    start_from: StartFromOption = None
    log_dir: LogDirOption = None
    wandb_project: WandbOption = None
    preview_prompts: PreviewPromptsOption = None
    vae: VaeOption = None
    cache_dir: CacheDirOption = None


@dataclass(frozen=True)
class BadPictures:
    """What is done with files that cannot be used as they are; by the request's names."""

    skip_bad: SkipBadOption = False
    convert: ConvertOption = False
