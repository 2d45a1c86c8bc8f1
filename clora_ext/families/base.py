"""What the engine needs to know about a kind of model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clora_ext.formats.header import Header

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, dtype, nn

    from clora_ext.formats.checkpoint import Checkpoint
    from clora_ext.precision import Precision

__all__ = ["Family", "Model", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A weight that adapters are trained on.

    Attributes:
        name: the tensor's name in the checkpoint.
        module: dotted path of the module inside the UNet, as diffusers names it.
        shape: (out, in).
    """

    name: str
    module: str
    shape: tuple[int, int]


class Model(Protocol):
    """A loaded model, ready to be taught and to draw."""

    @property
    def unet(self) -> "nn.Module":
        """The network that is taught."""
        ...

    def encode_images(self, pixels: "Tensor") -> "tuple[Tensor, Tensor]":
        """Mean and standard deviation of the scaled latents of pixels (n, 3, height, width) in [-1, 1]."""
        ...

    def encode_prompts(self, prompts: Sequence[str]) -> "Tensor":
        """Text states (n, tokens, width) of prompts."""
        ...

    def tokens_cut(self, prompt: str) -> int:
        """How many tokens of the prompt the text encoder cannot read; 0: it reads all."""
        ...

    def predict(self, latents: "Tensor", timesteps: "Tensor", text: "Tensor") -> "Tensor":
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

    def step(self, header: Header) -> int:
        """Sides of pictures must be multiples of this many pixels."""
        ...

    def targets(self, header: Header) -> tuple[Target, ...]:
        """The weights to teach, in the file's order of names."""
        ...

    def load(
        self, checkpoint: "Checkpoint", precision: "Precision", weights: "Mapping[str, Tensor] | None" = None
    ) -> Model:
        """The model in memory; ``weights`` (by checkpoint name) stand in for the file's own."""
        ...
