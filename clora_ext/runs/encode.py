"""Pictures as a model reads them: latents and conditioning of each, and which of them every step sees."""

from collections.abc import Mapping, Sequence
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
from .on_demand import OnDemand
from .plan import Plan

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from clora_ext.families.model import Conditioning, Model, SizeConditioning
    from clora_ext.strategies.objective import Example

__all__ = ["Encoded", "as_latents", "encode_pictures", "encode_varied"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A plan's pictures, encoded.

    Attributes:
        examples: one for each picture, in the plan's order.
        mirrored: the same of the mirrored pictures; those that are never shown so may not be asked for.
        held_out: those that are not trained on.
        schedule: which of the examples every step sees.
    """

    examples: "Sequence[Example]"
    mirrored: "Sequence[Example]"
    held_out: "Sequence[Example]"
    schedule: Batches


@dataclass(frozen=True, slots=True)
class _View:
    """A picture as it is shown."""

    picture: Picture
    cut: Cut
    mirrored: bool = False

    @property
    def size_conditioning(self) -> "SizeConditioning":
        """What SDXL is told of it."""
        from clora_ext.families.model import SizeConditioning

        left, top = self.cut.mirrored_corner if self.mirrored else self.cut.corner
        width, height = self.cut.size
        return SizeConditioning((self.picture.height, self.picture.width), (top, left), (height, width))

    def turned(self, pixels: "Tensor") -> "Tensor":
        """What lies on the cut picture's pixels, its last dimension the width, as it is shown."""
        return pixels.flip(-1) if self.mirrored else pixels


def encode_pictures(
    model: "Model", plan: Plan, encodings: Encodings, sink: Sink, *, text_changes: bool, at_once: bool
) -> Encoded:
    """Encode every picture at the size at which it is trained: captions now, pixels now or when asked for.

    No number depends on when that is. Of a picture with a mask it is now: it may turn out to count nowhere.

    Args:
        model: the one that learns.
        plan: of the pictures.
        encodings: that may have been kept of another run.
        sink: told that it begins.
        text_changes: whether what the text encoders say of a picture changes from step to step: they learn,
            or its caption varies.
        at_once: whether all pixels are encoded now, so that the VAE may leave.

    Raises:
        OutOfMemory: a picture is too large for the VAE; also whoever asks for it later is told so.
    """
    from clora_ext.config.memory import reporting_out_of_memory

    pictures = plan.dataset.pictures
    sink(Stage("encode", f"{len(pictures)} pictures"))

    def examples(views: Mapping[int, _View]) -> "OnDemand[Example]":
        texts = {
            number: None if text_changes else _condition(model, view, encodings)
            for number, view in views.items()
        }

        def encoded(number: int) -> "Example":
            with reporting_out_of_memory("encoding the pictures", sampling_remedies(plan)):
                return replace(_encoded(model, plan, views[number], encodings), condition=texts[number])

        now = [number for number, view in views.items() if at_once or view.picture.mask is not None]
        return OnDemand(len(pictures), encoded, now)

    cuts = list(zip(pictures, plan.cuts, strict=True))
    mirrored = {
        number: _View(picture, cut, mirrored=True)
        for number, (picture, cut) in enumerate(cuts)
        if picture.subset.augmentation.flip_aug and not picture.subset.augmentation.changes_pixels
    }
    apart = enumerate(zip(plan.dataset.held_out, plan.held_out_cuts, strict=True))
    held_out = examples({number: _View(*one) for number, one in apart})
    return Encoded(
        examples({number: _View(*one) for number, one in enumerate(cuts)}),
        examples(mirrored),
        [held_out[number] for number in range(len(plan.dataset.held_out))],
        batches(plan.bucketed, plan.settings.data.batch_size, plan.settings.seed),
    )


def _encoded(model: "Model", plan: Plan, view: _View, encodings: Encodings) -> "Example":
    """A picture on the processor, without its condition."""

    def moments() -> "tuple[Tensor, Tensor]":
        return _moments(model, view.turned(load_pixels(view.picture, view.cut, convert=plan.converts)))

    found = encodings.moments(view.picture, view.cut, moments, mirrored=view.mirrored)
    return _example(found, view)


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
    view = _View(picture, cut, mirrored)
    return _example(_moments(model, view.turned(pixels)), view)


def _moments(model: "Model", pixels: "Tensor") -> "tuple[Tensor, Tensor]":
    """Mean and standard deviation of the latents of one picture."""
    mean, deviation = (one[0].float().cpu() for one in model.encode_images(pixels.unsqueeze(0)))
    return mean, deviation


def _example(moments: "tuple[Tensor, Tensor]", view: _View) -> "Example":
    from clora_ext.strategies.objective import Example

    mean, deviation = moments
    picture, subset = view.picture, view.picture.subset
    mask = None
    if picture.mask is not None:
        whole = load_mask(picture.mask, view.cut, (picture.width, picture.height))
        mask = as_latents(view.turned(whole), mean, picture)
    shown = picture.caption, view.size_conditioning
    return Example(mean, deviation, *shown, None, subset.loss_weight, mask, subset.preservation)


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


def _condition(model: "Model", view: _View, encodings: Encodings) -> "Conditioning":
    """What the denoiser is given for the picture, on the processor."""
    import torch

    from clora_ext.config.precision import to_keep

    prompt, cut = view.picture.caption, view.size_conditioning

    def condition() -> "Conditioning":
        with torch.no_grad():
            encoded = model.condition([prompt], [cut])
        return {name: to_keep(value) for name, value in encoded.items()}

    return encodings.condition(prompt, cut, condition)
