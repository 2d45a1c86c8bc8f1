"""What the engine needs to know about a kind of model."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import PromptSettings, TargetSet
from clora_ext.formats.header import Header
from clora_ext.formats.prediction import Prediction

from .components import Component, Role
from .process import Process
from .step_shape import StepShape

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, dtype, nn

    from clora_ext.config.precision import Precision
    from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["Conditioning", "EncodedPrompt", "Family", "Model", "SizeConditioning"]

Conditioning = Mapping[str, "Tensor"]
"""What the denoiser is given beside latents and times, by names that only its family knows. The first
dimension of every tensor counts pictures."""


@dataclass(frozen=True, slots=True)
class SizeConditioning:
    """How a picture was cut out of its file; SDXL is conditioned on it (arXiv 2307.01952, section 2.2).

    Attributes:
        original: (height, width) of the file, pixels.
        corner: (top, left) of the cut, pixels of the picture after scaling.
        size: (height, width) of the result, pixels.
    """

    original: tuple[int, int]
    corner: tuple[float, float]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the text encoders read it, and what to steer away from.

    Attributes:
        wanted: condition of one picture.
        unwanted: the same of the negative prompt.
        size: side of the square pictures, pixels.
    """

    wanted: Conditioning
    unwanted: Conditioning
    size: int


class Model(Protocol):
    """A loaded model, ready to be taught and to sample."""

    @property
    def denoiser(self) -> "nn.Module":
        """The network that concepts are taught to."""
        ...

    @property
    def process(self) -> Process:
        """How the denoiser was trained."""
        ...

    def locate(self, target: Target) -> "tuple[nn.Module, str]":
        """The component that holds ``target``, and the path of its module inside."""
        ...

    def recompute_activations(self) -> None:
        """From now on, compute the denoiser's activations again for the gradient instead of keeping them."""
        ...

    def drop_text_encoders(self) -> None:
        """Free the memory of the text encoders: from now on no prompt can be read."""
        ...

    def drop_vae(self) -> None:
        """Free the memory of the VAE: from now on no picture can be encoded or sampled."""
        ...

    def encode_images(self, pixels: "Tensor") -> "tuple[Tensor, Tensor]":
        """Mean and standard deviation of the scaled latents of pixels (n, 3, height, width) in [-1, 1]."""
        ...

    def decode_latents(self, latents: "Tensor") -> "list[Image]":
        """The pictures of scaled latents (n, channels, h, w): the way back from :meth:`encode_images`."""
        ...

    def reading(self, prompts: PromptSettings) -> "Model":
        """The same model, of the same modules, that reads texts in this way; at first all is as usual."""
        ...

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """What the denoiser is given for pictures with these prompts, cut like this; keeps gradients."""
        ...

    def collate(self, conditions: Sequence[Conditioning]) -> Conditioning:
        """Conditions of several pictures as one, in their order, on the device that they lie on.

        Where texts differ in length, the family pads them and adds a mask that :meth:`predict` reads.
        """
        ...

    def latent_shape(self, size: int) -> tuple[int, ...]:
        """(channels, h, w) of the latents of a square picture with sides of ``size`` pixels."""
        ...

    def tokens(self, text: str) -> Sequence[int]:
        """The numbers of a text's tokens, without those that mark its beginning and end."""
        ...

    def tokens_cut(self, prompt: str) -> int:
        """How many tokens of the prompt are not read; 0: all are."""
        ...

    def predict(self, latents: "Tensor", times: "Tensor", condition: Conditioning) -> "Tensor":
        """The denoiser's output for noised latents (n, channels, h, w) at times (n,): of the same shape."""
        ...

    def encode_prompt(self, prompt: str, negative: str, size: int) -> EncodedPrompt:
        """What :meth:`sample_encoded` needs of the text encoders.

        Args:
            prompt: what pictures show.
            negative: what to steer away from.
            size: side of the square pictures, pixels.
        """
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

    def sample_encoded(
        self,
        prompt: EncodedPrompt,
        *,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        on_step: Callable[[int, int], None],
    ) -> "list[Image]":
        """As :meth:`sample`, when the text encoders may be gone."""
        ...

    def save(self, folder: Path, dtypes: "Mapping[Role, dtype]") -> None:
        """Write a new folder that diffusers' ``from_pretrained`` reads.

        Args:
            folder: that does not exist yet.
            dtypes: of the components of each role.

        Raises:
            CheckpointError: a value does not fit its dtype.
        """
        ...


class Family(Protocol):
    """A kind of model: names and shapes from the header, a loaded :class:`Model` on demand."""

    @property
    def name(self) -> str:
        """Of the module that defines it."""
        ...

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    @property
    def components(self) -> Mapping[str, Component]:
        """The networks of a model by name: exactly one denoiser."""
        ...

    @property
    def required(self) -> Collection[str]:
        """Names of the components without which a checkpoint cannot be taught."""
        ...

    def matches(self, header: Header) -> bool:
        """Whether the header is of this family."""
        ...

    def check(self, header: Header, where: Path) -> None:
        """Make sure that the checkpoint can be taught.

        Raises:
            CheckpointError: a required component is missing, or the tensors are not those of such a model.
        """
        ...

    def architecture(self, header: Header) -> str | None:
        """Modelspec's name of the architecture; None: not the sizes that the name stands for."""
        ...

    def prediction(self, header: Header) -> Prediction:
        """What the denoiser predicts, who says so, and who says otherwise.

        Raises:
            CheckpointError: it is nothing that can be trained, or nobody knows what.
        """
        ...

    def resolution(self, header: Header) -> int:
        """Side of a square picture, pixels, that the model was made for."""
        ...

    def size_multiple(self, header: Header) -> int:
        """Sides of pictures must be multiples of this many pixels."""
        ...

    def training_bytes(self, header: Header, step: StepShape) -> int | None:
        """About how much memory a training step takes beside weights, adapters and optimiser, bytes.

        None: the model's configuration does not tell.
        """
        ...

    def picture_bytes(self, header: Header, size: tuple[int, int]) -> int | None:
        """The same of encoding or decoding one picture of (width, height) pixels."""
        ...

    def readable(self, header: Header, prompts: PromptSettings) -> PromptSettings:
        """How texts are read when they are to be read so: what a family knows one way of is as it is there.

        Raises:
            UsageError: the model cannot read so.
        """
        ...

    def tokens_cut(self, header: Header, prompt: str, prompts: PromptSettings) -> int:
        """How many tokens of the prompt are not read when it is read so; loads no model."""
        ...

    def tokens(self, header: Header, text: str) -> Sequence[int]:
        """As :meth:`Model.tokens`; loads no model. A word that a model often met is one token."""
        ...

    def suggested_settings(self, header: Header) -> "Mapping[str, Any]":
        """Settings, by name, that a user who says nothing is best served with."""
        ...

    def modules(self, header: Header) -> tuple[Target, ...]:
        """Every linear layer and convolution of the denoiser and the text encoders, in order of names."""
        ...

    def parameters(self, header: Header) -> tuple[Target, ...]:
        """Everything that a finished adapter may change: :meth:`modules`, norms, biases, embeddings."""
        ...

    def targets(self, header: Header, chosen: TargetSet, *, text_encoders: bool) -> tuple[Target, ...]:
        """Those of :meth:`modules` that a concept is taught to.

        Args:
            header: of the model.
            chosen: which of the denoiser's.
            text_encoders: whether attention and MLP of the text encoders are taught too.
        """
        ...

    def token_tables(self, header: Header) -> tuple[Target, ...]:
        """The text encoders' tables of tokens, a row for each token, (tokens, width)."""
        ...

    def roles(self, header: Header) -> "Mapping[str, Role | None]":
        """The role of the component that each tensor belongs to, by the tensor's name.

        None: a left-over, which nothing reads and which travels byte for byte.
        """
        ...

    def check_loading(self, header: Header, where: Path) -> None:
        """Make sure that a checkpoint with this header loads; only values that are not finite are not seen.

        Raises:
            CheckpointError: as :meth:`load` would raise it.
        """
        ...

    def load(
        self, checkpoint: "Checkpoint", precision: "Precision", weights: "Mapping[str, Tensor] | None" = None
    ) -> Model:
        """The model in memory; ``weights`` (by :attr:`Target.name`) stand in for the file's own.

        Raises:
            CheckpointError: tensors are missing, too many, of another shape, or not finite.
        """
        ...
