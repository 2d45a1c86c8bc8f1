"""Pictures as a model reads them: latents and conditioning of each, and which of them every step sees."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.data import (
    Batches,
    Bucketed,
    Picture,
    batches,
    cover_corner,
    load_pixels,
)
from clora_ext.events import Note, Sink, Stage

from .memory_remedies import sampling_remedies
from .plan import Plan
from .request import Pictures

if TYPE_CHECKING:
    from clora_ext.families.base import Model, SizeConditioning
    from clora_ext.strategies.objective import Example

__all__ = ["Encoded", "encode_pictures"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A plan's pictures, encoded.

    Attributes:
        examples: one for each picture, in the plan's order.
        schedule: which of them every step sees.
    """

    examples: "list[Example]"
    schedule: Batches


def encode_pictures(model: "Model", plan: Plan, sink: Sink, *, text_learns: bool) -> Encoded:
    """Encode every picture at the size at which it is trained; notes captions that are too long.

    Args:
        model: the one that learns.
        plan: of the pictures.
        sink: told of long captions.
        text_learns: whether what the text encoders say of captions changes while they learn.

    Raises:
        OutOfMemory: a picture is too large for the VAE.
    """
    from clora_ext.config.memory import reporting_out_of_memory

    pictures = plan.dataset.pictures
    sink(Stage("encode", f"{len(pictures)} pictures"))
    _tell_what_is_cut(model, plan, sink)
    convert = isinstance(plan.request.source, Pictures) and plan.request.source.convert
    bucketed = [Bucketed(*size, one.repeats) for one, size in zip(pictures, plan.sizes, strict=True)]
    with reporting_out_of_memory("encoding the pictures", sampling_remedies(plan)):
        examples = [
            _example(model, one, size, convert=convert, text_learns=text_learns)
            for one, size in zip(pictures, plan.sizes, strict=True)
        ]
    return Encoded(examples, batches(bucketed, plan.settings.data.batch_size, plan.settings.seed))


def _tell_what_is_cut(model: "Model", plan: Plan, sink: Sink) -> None:
    """Captions are never shortened in silence."""
    for picture in plan.dataset.pictures:
        cut = model.tokens_cut(picture.caption)
        if cut:
            sink(Note(f"the caption of {picture.path.name} is too long: its last {cut} tokens are not read"))


def _example(
    model: "Model", picture: Picture, size: tuple[int, int], *, convert: bool, text_learns: bool
) -> "Example":
    """Latents and conditioning of one picture, on the processor."""
    import torch

    from clora_ext.strategies.objective import Example

    pixels = load_pixels(picture, *size, convert=convert)
    mean, deviation = model.encode_images(pixels.unsqueeze(0))
    cut = _size_conditioning(picture, size)
    condition = None
    if not text_learns:
        with torch.no_grad():
            encoded = model.condition([picture.caption], [cut])
        condition = {name: value.float().cpu() for name, value in encoded.items()}
    return Example(mean[0].float().cpu(), deviation[0].float().cpu(), picture.caption, cut, condition)


def _size_conditioning(picture: Picture, size: tuple[int, int]) -> "SizeConditioning":
    """How :func:`load_pixels` cuts a picture to ``size``, (width, height) in pixels."""
    from clora_ext.families.base import SizeConditioning

    left, top = cover_corner(picture.width, picture.height, *size)
    return SizeConditioning((picture.height, picture.width), (top, left), (size[1], size[0]))
