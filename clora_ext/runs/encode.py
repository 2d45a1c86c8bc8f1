"""Pictures as a model reads them: latents and conditioning of each, and which of them every step sees."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clora_ext.data import (
    Batches,
    Bucketed,
    Picture,
    batches,
    cover_corner,
    load_pixels,
)
from clora_ext.events import Sink, Stage

from .memory_remedies import sampling_remedies
from .plan import Plan

if TYPE_CHECKING:
    from clora_ext.families.base import Model, SizeConditioning
    from clora_ext.strategies.objective import Example

__all__ = ["Encoded", "encode_latents", "encode_pictures"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A plan's pictures, encoded.

    Attributes:
        examples: one for each picture, in the plan's order.
        schedule: which of them every step sees.
    """

    examples: "list[Example]"
    schedule: Batches


def encode_pictures(model: "Model", plan: Plan, sink: Sink, *, text_changes: bool) -> Encoded:
    """Encode every picture at the size at which it is trained.

    Args:
        model: the one that learns.
        plan: of the pictures.
        sink: told that it begins.
        text_changes: whether what the text encoders say of a picture changes from step to step: they learn,
            or its caption varies.

    Raises:
        OutOfMemory: a picture is too large for the VAE.
    """
    from clora_ext.config.memory import reporting_out_of_memory

    pictures = plan.dataset.pictures
    sink(Stage("encode", f"{len(pictures)} pictures"))
    bucketed = [Bucketed(*size, one.repeats) for one, size in zip(pictures, plan.sizes, strict=True)]
    with reporting_out_of_memory("encoding the pictures", sampling_remedies(plan)):
        examples = [encode_latents(model, plan, number) for number in range(len(pictures))]
    examples = examples if text_changes else [_conditioned(model, example) for example in examples]
    return Encoded(examples, batches(bucketed, plan.settings.data.batch_size, plan.settings.seed))


def encode_latents(model: "Model", plan: Plan, number: int) -> "Example":
    """One of the plan's pictures on the processor, without its condition: the model is asked when it is."""
    from clora_ext.strategies.objective import Example

    picture, size = plan.dataset.pictures[number], plan.sizes[number]
    pixels = load_pixels(picture, *size, convert=plan.converts)
    mean, deviation = model.encode_images(pixels.unsqueeze(0))
    cut = _size_conditioning(picture, size)
    return Example(mean[0].float().cpu(), deviation[0].float().cpu(), picture.caption, cut, None)


def _conditioned(model: "Model", example: "Example") -> "Example":
    """The same with its condition, on the processor."""
    import torch

    with torch.no_grad():
        encoded = model.condition([example.prompt], [example.size_conditioning])
    return replace(example, condition={name: value.float().cpu() for name, value in encoded.items()})


def _size_conditioning(picture: Picture, size: tuple[int, int]) -> "SizeConditioning":
    """How :func:`load_pixels` cuts a picture to ``size``, (width, height) in pixels."""
    from clora_ext.families.base import SizeConditioning

    left, top = cover_corner(picture.width, picture.height, *size)
    return SizeConditioning((picture.height, picture.width), (top, left), (size[1], size[0]))
