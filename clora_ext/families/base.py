"""What the engine needs to know about a kind of model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clora_ext.adapters.sites import Target
from clora_ext.formats.header import Header

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, dtype, nn

    from clora_ext.config.precision import Precision
    from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["Conditioning", "Family", "Framing", "Model"]

Conditioning = Mapping[str, "Tensor"]
"""What the UNet is told beside latents and time, by name; the first dimension counts pictures:
``states`` (n, tokens, width); with two text encoders also ``pooled`` (n, width) and ``time_ids`` (n, 6)."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a picture was cut out of its file; SDXL is told (arXiv 2307.01952, section 2.2).

    Attributes:
        original: (height, width) of the file, pixels.
        corner: (top, left) of the cut, pixels of the picture after scaling.
        size: (height, width) of the result, pixels.
    """

    original: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]


class Model(Protocol):
    """A loaded model, ready to be taught and to draw."""

    @property
    def unet(self) -> "nn.Module":
        """The network that predicts the noise."""
        ...

    def locate(self, target: Target) -> "tuple[nn.Module, str]":
        """The component that holds ``target``, and the path of its module inside."""
        ...

    def recompute_activations(self) -> None:
        """From now on, compute the UNet's activations again for the gradient instead of keeping them."""
        ...

    def drop_encoders(self) -> None:
        """Free the memory of everything but the UNet, which alone can be used from now on."""
        ...

    def encode_images(self, pixels: "Tensor") -> "tuple[Tensor, Tensor]":
        """Mean and standard deviation of the scaled latents of pixels (n, 3, height, width) in [-1, 1]."""
        ...

    def condition(self, prompts: Sequence[str], framings: Sequence[Framing]) -> Conditioning:
        """What the UNet is told about pictures with these prompts, cut like this; keeps gradients."""
        ...

    def tokens_cut(self, prompt: str) -> int:
        """How many tokens of the prompt the text encoder cannot read; 0: it reads all."""
        ...

    def predict(self, latents: "Tensor", timesteps: "Tensor", condition: Conditioning) -> "Tensor":
        """The network's output for noised latents (n, 4, h, w) at timesteps (n,)."""
        ...

    def add_noise(self, latents: "Tensor", noise: "Tensor", timesteps: "Tensor") -> "Tensor":
        """Latents noised to ``timesteps`` (n,)."""
        ...

    def target(self, latents: "Tensor", noise: "Tensor", timesteps: "Tensor") -> "Tensor":
        """What :meth:`predict` should give: the noise, or v (arXiv 2202.00512)."""
        ...

    @property
    def timesteps(self) -> int:
        """Length of the noise schedule the model was trained with."""
        ...

    def sample(
        self,
        prompt: str,
        *,
        negative: str,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        size: int,
        on_step: Callable[[int, int], None],
    ) -> "list[Image]":
        """One picture (size x size pixels) for every seed; ``on_step`` is told (done, total) steps."""
        ...

    def save(self, folder: Path, dtypes: "Mapping[str, dtype]") -> None:
        """Write a new folder that diffusers' ``from_pretrained`` reads.

        Args:
            folder: that does not exist yet.
            dtypes: of ``unet``, ``vae`` and ``text_encoder`` (which stands for all text encoders).
        """
        ...


class Family(Protocol):
    """A kind of model: names and shapes from the header, a loaded :class:`Model` on demand."""

    name: str

    def matches(self, header: Header) -> bool:
        """Whether the header is of this family."""
        ...

    def check(self, header: Header, where: Path) -> None:
        """Raise CheckpointError if a part is missing that teaching needs."""
        ...

    def resolution(self, header: Header) -> int:
        """Side of a square picture, pixels, that the model was made for."""
        ...

    def teaching(self, header: Header) -> "Mapping[str, Any]":
        """Settings, by name, that a user who says nothing is best served with."""
        ...

    def step(self, header: Header) -> int:
        """Sides of pictures must be multiples of this many pixels."""
        ...

    def modules(self, header: Header) -> tuple[Target, ...]:
        """Every linear layer and convolution of the UNet and the text encoders, in order of names."""
        ...

    def load(
        self, checkpoint: "Checkpoint", precision: "Precision", weights: "Mapping[str, Tensor] | None" = None
    ) -> Model:
        """The model in memory; ``weights`` (by :attr:`Target.name`) stand in for the file's own."""
        ...
