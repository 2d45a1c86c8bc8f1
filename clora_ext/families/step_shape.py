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
        copies_weights: whether they are kept in 8 bits or elsewhere, and copied for a layer as long as its
            gradient needs it.
        recompute: whether activations are computed twice instead of kept.
        convolutions: whether the denoiser's residual blocks are taught too.
        magnitudes: whether every layer that is taught has magnitudes of its outputs (DoRA).
    """

    size: tuple[int, int]
    pictures: int
    targets: TargetSet
    rank: int
    text_encoders: bool
    is_half: bool
    recompute: bool
    convolutions: bool = False
    copies_weights: bool = False
    magnitudes: bool = False
