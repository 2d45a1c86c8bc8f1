"""`clora generate`: draw with what was learned."""

from pathlib import Path
from typing import Annotated

import typer

from . import completing
from .options import (
    DEFAULT_PROJECT,
    FilePredictionOption,
    FileZeroSnrOption,
    JsonOption,
    PlaceOption,
    ProjectOption,
    TextEncoderFileOption,
    VaeFileOption,
)
from .output import Output
from .watching import watching
from .wording import counted

__all__ = ["EPILOG", "generate"]

EPILOG = 'Example: clora generate -p "a photo of sks dog on the beach" -n 4'


# The defaults are those of GenerateRequest, which a test compares: its module takes long to import.
def generate(  # noqa: PLR0913 - an argument for every option: Typer reads the command line so
    *,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt",
            "-p",
            help="What the pictures show.",
            show_default=False,
            autocompletion=completing.tokens,
        ),
    ],
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the first picture; the others count up from it.")] = 0,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 30,
    guidance: Annotated[
        float, typer.Option(help="How closely to follow the prompt; 1 switches it off.")
    ] = 4.0,
    negative: Annotated[str, typer.Option(help="What to steer away from.", show_default=False)] = "",
    size: Annotated[int | None, typer.Option(help="Pixels a side.", show_default="the model's own")] = None,
    clip_skip: Annotated[
        int | None,
        typer.Option(
            help="Layer of Stable Diffusion 1's text encoder that is read, counted from its end.",
            show_default="as the concept was taught",
        ),
    ] = None,
    max_token_length: Annotated[
        int | None,
        typer.Option(
            metavar="75|150|225",
            help="How many tokens of a prompt are read.",
            show_default="as the concept was taught",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A folder, or a .png file. No file is overwritten.",
            show_default="the folder pictures in the project",
        ),
    ] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    base: PlaceOption = None,
    prediction: FilePredictionOption = None,
    zero_snr: FileZeroSnrOption = None,
    text_encoder_file: TextEncoderFileOption = None,
    vae_file: VaeFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw pictures with the project's model.

    `--project` may name a checkpoint file or a diffusers folder, too.
    """
    from clora_ext.runs.request import asked_statements, named_companions
    from clora_ext.sampling.generate import GenerateRequest
    from clora_ext.sampling.generate import generate as draw

    output = Output(as_json=as_json)
    drawing = GenerateRequest(
        prompt, negative, count, seed, steps, guidance, size, clip_skip, max_token_length
    )
    said = asked_statements(prediction, zero_snr=zero_snr)
    with watching(output) as (sink, _):
        beside = named_companions(text_encoder_file, vae_file)
        files = draw(project, drawing, target, sink, base, said, beside)
    output.show(f"drew {counted(len(files), 'picture')}:")
    for file in files:
        output.show(str(file))
    output.result({"files": files})
