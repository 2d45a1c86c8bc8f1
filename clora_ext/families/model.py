"""A loaded model, and what it is told and tells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import PromptSettings

from .components import Role
from .picture_size import PictureSize
from .process import Process

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, dtype, nn

    from .said import TextStates

__all__ = ["Conditioning", "EncodedPrompt", "Model", "SizeConditioning"]

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
        size: of the pictures.
    """

    wanted: Conditioning
    unwanted: Conditioning
    size: PictureSize


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

    @property
    def picture_encoder(self) -> "nn.Module":
        """The network that gives latents of pictures."""
        ...

    @property
    def text_encoders(self) -> "Sequence[nn.Module]":
        """The networks that read prompts."""
        ...

    def locate(self, target: Target) -> "tuple[nn.Module, str]":
        """The component that holds ``target``, and the path of its module inside."""
        ...

    def store_in_8_bits(self) -> None:
        """Round the denoiser's weights to float8 e4m3, and compute with them as wide as before.

        Adapters come after it: what is in the network by then is rounded. Biases and norms stay as they are.
        """
        ...

    def shard_denoiser(self, whole: "Iterable[nn.Parameter]") -> None:
        """Share its weights out over the processes of the job, all but the parameters ``whole``.

        From now on all processes have to make the same passes through it.
        """
        ...

    def compile_denoiser(self) -> None:
        """Have the denoiser's repeated blocks compiled when they are next used, by ``torch.compile``."""
        ...

    def recompute_activations(self) -> None:
        """From now on, compute the denoiser's activations again for the gradient instead of keeping them."""
        ...

    def reading_once(self) -> AbstractContextManager[None]:
        """While it is entered, the text encoders do not change, and a text need not be read twice."""
        ...

    def keep_texts(self, states: "TextStates") -> None:
        """From now on :meth:`condition` reads each text alone, and once: what is said of it is kept there.

        What is kept can be asked for when the text encoders are gone. It is for texts that are read in one
        way, by text encoders that do not change any more.
        """
        ...

    def remember_prompt(self, prompt: str, negative: str, size: PictureSize) -> None:
        """Encode a prompt now, so that it can be drawn when the text encoders are gone."""
        ...

    def drop_text_encoders(self) -> None:
        """Free the memory of the text encoders: from now on no prompt is read but what is known."""
        ...

    def lay_vae_aside(self) -> None:
        """Free the accelerator's memory of the VAE until :meth:`fetch_vae`: nothing is encoded or sampled."""
        ...

    def fetch_vae(self) -> None:
        """Have the VAE where the model lies."""
        ...

    def encode_images(self, pixels: "Tensor") -> "tuple[Tensor, Tensor]":
        """Mean and standard deviation of the scaled latents of pixels (n, 3, height, width) in [-1, 1]."""
        ...

    def decode_latents(self, latents: "Tensor") -> "list[Image]":
        """The pictures of scaled latents (n, channels, h, w): the way back from :meth:`encode_images`."""
        ...

    def with_vae(self, file: Path) -> "Model":
        """The same model with another VAE of the same layers; see :meth:`Family.check_vae`."""
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
        """Conditions of several pictures as one, in their order, on the device that they lie on; float32.

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

    def encode_prompt(self, prompt: str, negative: str, size: PictureSize) -> EncodedPrompt:
        """What :meth:`sample_encoded` needs of the text encoders.

        Args:
            prompt: what pictures show.
            negative: what to steer away from.
            size: of the pictures.
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
        size: PictureSize,
        on_step: Callable[[int, int], None],
    ) -> "list[Image]":
        """One picture for every seed; ``on_step`` is told (done, total) steps."""
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
