"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from clora_ext import strategies
from clora_ext.config.settings import Settings

from . import completing

__all__ = [
    "DEFAULT_KEEP",
    "DEFAULT_PROJECT",
    "DEFAULT_STRATEGY",
    "BaseOption",
    "DryRunOption",
    "FilePredictionOption",
    "FileZeroSnrOption",
    "JsonOption",
    "KeepDeltaOption",
    "KeepOption",
    "MaxForgettingOption",
    "PlaceOption",
    "PredictionOption",
    "ProjectOption",
    "ScorerOption",
    "StrategyOption",
    "StrategyOptions",
    "TextEncoderFileOption",
    "VaeFileOption",
    "VariantOption",
    "YesOption",
    "ZeroSnrOption",
]

# The engine's own defaults, which a test compares: to ask it for them takes a second of imports.
DEFAULT_PROJECT = Path("clora-model")
DEFAULT_KEEP = 1
DEFAULT_STRATEGY = Settings().strategy

ProjectOption = Annotated[
    Path, typer.Option("--project", metavar="DIR", help="The project: the folder of the evolving model.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON lines to stdout, for programs; text goes to stderr.")
]
BaseOption = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL",
        help="The model that a new project starts from, or where a project's base lies now: a .safetensors "
        "file, a diffusers folder, or a name on the Hugging Face hub, which is then fetched (NAME:fp16: in "
        "half precision); or comfyui:NAME or a1111:NAME for a checkpoint of an installed program.",
        autocompletion=completing.bases,
        show_default="the built-in demo model",
    ),
]
PlaceOption = Annotated[
    Path | None,
    typer.Option(
        "--base",
        metavar="MODEL",
        help="Where the model that the project started from lies now; `clora relocate` writes it down.",
        autocompletion=completing.bases,
        show_default="where it was",
    ),
]
_FILE = "A checkpoint in the project's place"
_BASE = "A new project's base"
_AS_IT_SAYS = "as its files say"
PredictionOption = Annotated[
    str | None,
    typer.Option(
        metavar="epsilon|v",
        help="What the base predicts, where its files do not say it. The project keeps to it.",
        show_default=_AS_IT_SAYS,
        rich_help_panel=_BASE,
    ),
]
ZeroSnrOption = Annotated[
    bool | None,
    typer.Option(
        "--zero-snr/--no-zero-snr",
        help="Whether the base was trained on a noise schedule that ends in pure noise (zero terminal SNR).",
        show_default=_AS_IT_SAYS,
        rich_help_panel=_BASE,
    ),
]
FilePredictionOption = Annotated[
    str | None,
    typer.Option(
        "--prediction",
        metavar="epsilon|v",
        help="What it predicts, where its files do not say it.",
        show_default=_AS_IT_SAYS,
        rich_help_panel=_FILE,
    ),
]
FileZeroSnrOption = Annotated[
    bool | None,
    typer.Option(
        "--zero-snr/--no-zero-snr",
        help="Whether it was trained on a noise schedule that ends in pure noise (zero terminal SNR).",
        show_default=_AS_IT_SAYS,
        rich_help_panel=_FILE,
    ),
]
TextEncoderFileOption = Annotated[
    Path | None,
    typer.Option(
        "--text-encoder-file",
        metavar="FILE",
        help="The text encoder of a model whose file is a transformer alone, such as Z-Image's.",
        show_default="the one beside it",
        rich_help_panel="Files of a model in parts",
    ),
]
VaeFileOption = Annotated[
    Path | None,
    typer.Option(
        "--vae-file",
        metavar="FILE",
        help="The VAE of such a model.",
        show_default="the one beside it",
        rich_help_panel="Files of a model in parts",
    ),
]
VariantOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which variant the base is, where shapes do not tell: of Z-Image base or turbo, of Flux.2 klein "
        "base, distilled or kv, of Anima base, turbo or aesthetic, of Krea 2 raw or turbo.",
        show_default="what its name or its metadata say, else base or raw",
        rich_help_panel=_BASE,
    ),
]
KeepOption = Annotated[int, typer.Option(help="Earlier models to keep for undo.", rich_help_panel="This run")]
ScorerOption = Annotated[
    str | None,
    typer.Option(
        metavar="KIND:PLACE",
        help="Tells in numbers what earlier concepts have kept: clip, dino or dinov2 with a folder of "
        "weights or a name on the Hugging Face hub (dinov2:FOLDER), or csd:FILE, for styles.",
        show_default="the demo model's own; of other models nothing is told",
        rich_help_panel="This run",
    ),
]
MaxForgettingOption = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Fail, and leave the model as it was, if an earlier concept would lose more than this share of "
        "what it had when learned, such as 0.1.",
        show_default="any",
        rich_help_panel="This run",
    ),
]

KeepDeltaOption = Annotated[
    bool,
    typer.Option(
        "--keep-delta",
        help="Keep the concept's change in the project, so that `clora remove` and `clora weigh` can take it "
        "out or weigh it anew, exactly. A past adapter: outside of the strict regime, which keeps none.",
        rich_help_panel="This run",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would happen and stop.", rich_help_panel="This run")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")]


def _strategies() -> str:
    """The help of ``--strategy``: those that are recommended in their own words, the others by name."""
    return "How new knowledge joins old.\n\n" + "\n\n".join(
        [
            *(f"{name}: {strategies.summary(name)}" for name in strategies.recommended()),
            f"For comparison, see docs/strategies.md: {', '.join(strategies.for_comparison())}.",
        ]
    )


def _strategy_options() -> str:
    """The help of ``--strategy-option``: options in the words of those strategies that are recommended."""
    return "An option of the strategy; may be given several times. All of them: docs/settings.md." + "".join(
        f"\n\n{strategy}: {option}. {help_}"
        for strategy in strategies.recommended()
        for option, help_ in strategies.describe_options(strategy).items()
    )


StrategyOption = Annotated[
    str, typer.Option(metavar="NAME", help=_strategies(), autocompletion=completing.strategy_names)
]
StrategyOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy-option",
        metavar="NAME=VALUE",
        help=_strategy_options(),
        show_default=False,
        autocompletion=completing.strategy_options,
    ),
]
