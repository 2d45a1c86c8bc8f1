"""`clora generate`: draw with what was learned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from . import completing
from .option_groups import ModelFile, with_groups
from .options import DEFAULT_PROJECT, JsonOption, PlaceOption, ProjectOption
from .output import Output
from .watching import watching
from .wording import counted

__all__ = ["EPILOG", "generate"]

EPILOG = 'Example: clora generate -p "a photo of sks dog on the beach" -n 4'


_PROMPT = typer.Option(
    "--prompt", "-p", help="What the pictures show.", show_default=False, autocompletion=completing.tokens
)
_CLIP_SKIP = typer.Option(
    help="Layer of Stable Diffusion 1's text encoder that is read, counted from its end.",
    show_default="as the concept was taught",
)
_LONGEST = typer.Option(
    metavar="75|150|225",
    help="How many tokens of a prompt are read.",
    show_default="as the concept was taught",
)
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="A folder, or a .png file. No file is overwritten.",
        show_default="the folder pictures in the project",
    ),
]


_STEPS = typer.Option(help="Denoising steps.", show_default="30, of a distilled model as few as it needs")
_GUIDANCE = typer.Option(
    help="How closely to follow the prompt; 1 switches it off.", show_default="4, of a distilled model 1"
)


@dataclass(frozen=True)
class Drawing:
    """What is drawn: the fields of :class:`clora_ext.GenerateRequest`, whose module takes long to import.

    A test compares the defaults.
    """

    prompt: Annotated[str, _PROMPT]
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures.")] = 4
    seed: Annotated[int, typer.Option(help="Seed of the first picture; the others count up from it.")] = 0
    steps: Annotated[int | None, _STEPS] = None
    guidance: Annotated[float | None, _GUIDANCE] = None
    negative: Annotated[str, typer.Option(help="What to steer away from.", show_default=False)] = ""
    size: Annotated[int | None, typer.Option(help="Pixels a side.", show_default="the model's own")] = None
    clip_skip: Annotated[int | None, _CLIP_SKIP] = None
    max_token_length: Annotated[int | None, _LONGEST] = None


@with_groups
def generate(
    *,
    drawing: Drawing,
    target: OutputOption = None,
    project: ProjectOption = DEFAULT_PROJECT,
    base: PlaceOption = None,
    model: ModelFile,
    as_json: JsonOption = False,
) -> None:
    """Draw pictures with the project's model.

    `--project` may name a checkpoint file or a diffusers folder, too.
    """
    from clora_ext.runs.request import asked_statements, named_companions
    from clora_ext.sampling.generate import GenerateRequest
    from clora_ext.sampling.generate import generate as draw

    output = Output(as_json=as_json)
    asked = GenerateRequest(**vars(drawing))
    said = asked_statements(model.prediction, zero_snr=model.zero_snr, variant=model.variant)
    with watching(output) as (sink, _):
        beside = named_companions(model.text_encoder_file, model.vae_file)
        files = draw(project, asked, target, sink, base, said, beside)
    output.show(f"drew {counted(len(files), 'picture')}:")
    for file in files:
        output.show(str(file))
    output.result({"files": files})
