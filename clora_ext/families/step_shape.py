"""What a training step is made of, as far as its memory depends on it. Needs no torch."""

from dataclasses import dataclass

from clora_ext.config.settings import TargetSet

__all__ = ["StepShape"]


@dataclass(frozen=True, slots=True)
class StepShape:
    """What decides how much memory a training step takes beside the weights.

    Attributes:
        size: (width, height) of the largest pictures, pixels.
        pictures: in one step.
        targets: which layers of the denoiser are taught.
        rank: of the adapters.
        text_encoders: whether they are taught too.
        is_half: whether the frozen weights are in half precision.
        recompute: whether activations are computed twice instead of kept.
    """

    size: tuple[int, int]
    pictures: int
    targets: TargetSet
    rank: int
    text_encoders: bool
    is_half: bool
    recompute: bool
