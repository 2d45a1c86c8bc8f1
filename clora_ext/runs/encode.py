"""Pictures as a model reads them: latents and conditioning of each, and which of them every step sees."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from clora_ext.data import (
    Batches,
    Cut,
    Picture,
    as_pixels,
    batches,
    cut_out,
    load_mask,
    load_pixels,
    varied_colours,
)
from clora_ext.errors import DatasetError
from clora_ext.events import Sink, Stage
from clora_ext.formats.text import escaped

from .kept_encodings import Encodings
from .memory_remedies import sampling_remedies
from .plan import Plan

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from clora_ext.families.model import Conditioning, Model, SizeConditioning
    from clora_ext.strategies.objective import Example

__all__ = ["Encoded", "as_latents", "encode_latents", "encode_pictures", "encode_varied"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A plan's pictures, encoded.

    Attributes:
        examples: one for each picture, in the plan's order.
        mirrored: the same of those that are shown mirrored too, by their number.
        held_out: those that are not trained on.
        schedule: which of the examples every step sees.
    """

    examples: "list[Example]"
    mirrored: "Mapping[int, Example]"
    held_out: "list[Example]"
    schedule: Batches


def encode_pictures(
    model: "Model", plan: Plan, encodings: Encodings, sink: Sink, *, text_changes: bool
) -> Encoded:
    """Encode every picture at the size at which it is trained.

    Args:
        model: the one that learns.
        plan: of the pictures.
        encodings: that may have been kept of another run.
        sink: told that it begins.
        text_changes: whether what the text encoders say of a picture changes from step to step: they learn,
            or its caption varies.

    Raises:
        OutOfMemory: a picture is too large for the VAE.
    """
    from clora_ext.config.memory import reporting_out_of_memory

    pictures = plan.dataset.pictures
    sink(Stage("encode", f"{len(pictures)} pictures"))
    with reporting_out_of_memory("encoding the pictures", sampling_remedies(plan)):
        examples = [encode_latents(model, plan, number, encodings) for number in range(len(pictures))]
        mirrored = {
            number: encode_mirrored(model, plan, number, encodings)
            for number, picture in enumerate(pictures)
            if picture.subset.augmentation.flip_aug and not picture.subset.augmentation.changes_pixels
        }
        apart = zip(plan.dataset.held_out, plan.held_out_cuts, strict=True)
        held_out = [_as_it_is(model, plan, picture, cut, encodings) for picture, cut in apart]
    if not text_changes:
        held_out = [_conditioned(model, example, encodings) for example in held_out]
        examples = [_conditioned(model, example, encodings) for example in examples]
        mirrored = {number: _conditioned(model, one, encodings) for number, one in mirrored.items()}
    schedule = batches(plan.bucketed, plan.settings.data.batch_size, plan.settings.seed)
    return Encoded(examples, mirrored, held_out, schedule)


def encode_latents(model: "Model", plan: Plan, number: int, encodings: Encodings) -> "Example":
    """One of the plan's pictures on the processor, without its condition: the model is asked when it is."""
    return _as_it_is(model, plan, plan.dataset.pictures[number], plan.cuts[number], encodings)


def _as_it_is(model: "Model", plan: Plan, picture: Picture, cut: Cut, encodings: Encodings) -> "Example":
    def moments() -> "tuple[Tensor, Tensor]":
        return _moments(model, load_pixels(picture, cut, convert=plan.converts))

    found = encodings.moments(picture, cut, moments, mirrored=False)
    conditioning = _size_conditioning(picture, cut.size, cut.corner)
    return _example(found, picture, conditioning, _mask(picture, cut))


def encode_mirrored(model: "Model", plan: Plan, number: int, encodings: Encodings) -> "Example":
    """The same of the mirrored picture."""
    picture, cut = plan.dataset.pictures[number], plan.cuts[number]

    def moments() -> "tuple[Tensor, Tensor]":
        return _moments(model, load_pixels(picture, cut, convert=plan.converts).flip(-1))

    found = encodings.moments(picture, cut, moments, mirrored=True)
    conditioning, mask = _size_conditioning(picture, cut.size, cut.mirrored_corner), _mask(picture, cut)
    return _example(found, picture, conditioning, None if mask is None else mask.flip(-1))


def encode_varied(
    model: "Model", plan: Plan, number: int, image: "Image", rng: Random, *, mirrored: bool
) -> "Example":
    """One of the plan's pictures as a single step sees it, without its condition.

    Args:
        model: the one that learns, with its VAE.
        plan: of the pictures.
        number: of the picture.
        image: the whole picture, as :func:`clora_ext.data.load_whole` gives it.
        rng: says where it is cut and how its colours change.
        mirrored: whether it is shown mirrored.
    """
    picture, cut = plan.dataset.pictures[number], plan.cuts[number]
    rules = picture.subset.augmentation
    if rules.random_crop:
        cut = cut.elsewhere(picture.width, picture.height, rng)
    shown = cut_out(image, cut, picture.subset.interpolation)
    pixels = as_pixels(varied_colours(shown, rng) if rules.color_aug else shown)
    corner, mask = (cut.mirrored_corner if mirrored else cut.corner), _mask(picture, cut)
    conditioning = _size_conditioning(picture, cut.size, corner)
    if not mirrored:
        return _example(_moments(model, pixels), picture, conditioning, mask)
    flipped = None if mask is None else mask.flip(-1)
    return _example(_moments(model, pixels.flip(-1)), picture, conditioning, flipped)


def _moments(model: "Model", pixels: "Tensor") -> "tuple[Tensor, Tensor]":
    """Mean and standard deviation of the latents of one picture."""
    mean, deviation = (one[0].float().cpu() for one in model.encode_images(pixels.unsqueeze(0)))
    return mean, deviation


def _example(
    moments: "tuple[Tensor, Tensor]", picture: Picture, cut: "SizeConditioning", mask: "Tensor | None"
) -> "Example":
    from clora_ext.strategies.objective import Example

    mean, deviation = moments
    shrunk = None if mask is None else as_latents(mask, mean, picture)
    subset = picture.subset
    return Example(
        mean, deviation, picture.caption, cut, None, subset.loss_weight, shrunk, subset.preservation
    )


def _mask(picture: Picture, cut: Cut) -> "Tensor | None":
    """What counts of the cut picture, (height, width); None: all of it."""
    if picture.mask is None:
        return None
    return load_mask(picture.mask, cut, (picture.width, picture.height))


def as_latents(mask: "Tensor", latents: "Tensor", picture: Picture) -> "Tensor":
    """A mask in the latents' size, (1, h, w), each place the mean of what it stands for, as in sd-scripts.

    Raises:
        DatasetError: what was kept of the picture counts nowhere.
    """
    from torch.nn import functional

    small: Tensor = functional.adaptive_avg_pool2d(mask[None], (latents.shape[-2], latents.shape[-1]))
    if not small.any():
        message = f"{escaped(picture.path)}: what is kept of it counts nowhere by its mask"
        raise DatasetError(message, fix="paint something of it white, or leave the picture out")
    return small / small.mean() if picture.subset.masks.normalize_masks else small


def _conditioned(model: "Model", example: "Example", encodings: Encodings) -> "Example":
    """The same with its condition, on the processor."""
    import torch

    from clora_ext.config.precision import to_keep

    def condition() -> "Conditioning":
        with torch.no_grad():
            encoded = model.condition([example.prompt], [example.size_conditioning])
        return {name: to_keep(value) for name, value in encoded.items()}

    found = encodings.condition(example.prompt, example.size_conditioning, condition)
    return replace(example, condition=found)


def _size_conditioning(
    picture: Picture, size: tuple[int, int], corner: tuple[float, float]
) -> "SizeConditioning":
    """What SDXL is told of a picture that is cut to ``size`` at ``corner``, (left, top)."""
    from clora_ext.families.model import SizeConditioning

    return SizeConditioning((picture.height, picture.width), (corner[1], corner[0]), (size[1], size[0]))
