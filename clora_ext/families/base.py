"""What the engine needs to know about a kind of model."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import PromptSettings, TargetSet
from clora_ext.formats.header import Header
from clora_ext.formats.prediction import Prediction

from .companion import Companion
from .components import Component, Role
from .model import Model
from .step_shape import StepShape
from .variant import Variant

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.config.precision import Precision
    from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["Family"]


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
    def licence(self) -> str:
        """What a user has to know of the published models' licence; empty: it forbids nothing usual."""
        ...

    @property
    def written_prefixes(self) -> Mapping[str, str]:
        """What programs want before names in a file of everything, by what stands there here; empty: that."""
        ...

    @property
    def components(self) -> Mapping[str, Component]:
        """The networks of a model by name: exactly one denoiser."""
        ...

    @property
    def required(self) -> Collection[str]:
        """Names of the components without which a checkpoint cannot be taught."""
        ...

    @property
    def companions(self) -> Mapping[str, Companion]:
        """Components that may lie in files of their own, by name."""
        ...

    def lacking(self, header: Header) -> Collection[str]:
        """Those of :attr:`companions` that the header does not have."""
        ...

    @property
    def reads_apart(self) -> bool:
        """Whether text encoders and denoiser take turns on a device that does not hold both."""
        ...

    def matches(self, header: Header) -> bool:
        """Whether the header is of this family, whatever it lacks."""
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

    @property
    def variants(self) -> Sequence[Variant]:
        """What its models may be that shapes do not tell, the usual first; none where all are alike."""
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

    def said_bytes(
        self, header: Header, texts: Sequence[str], prompts: PromptSettings, *, is_half: bool
    ) -> int | None:
        """Memory of what the text encoders say of all these texts, bytes, about.

        Args:
            header: of the model.
            texts: each for itself.
            prompts: how they are read.
            is_half: whether the text encoders compute in bfloat16, so that what they say is kept in it.

        None: the model's configuration does not tell.
        """
        ...

    def reader(self, header: Header) -> Callable[[str], Sequence[int]]:
        """:meth:`Model.tokens` without a model. A word that a model often met is one token."""
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

    def targets(
        self, header: Header, chosen: TargetSet | None, *, text_encoders: bool, convolutions: bool = False
    ) -> tuple[Target, ...]:
        """Those of :meth:`modules` that a concept is taught to.

        Args:
            header: of the model.
            chosen: which of the denoiser's; None: none of them.
            text_encoders: whether attention and MLP of the text encoders are taught too.
            convolutions: whether what the denoiser convolves with is taught too, beside the chosen.
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

    def check_vae(self, header: Header, file: Path) -> None:
        """Make sure that another VAE can take the place of a checkpoint's own.

        Args:
            header: of the checkpoint.
            file: of the VAE.

        Raises:
            CheckpointError: it is no VAE, or one of other layers.
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
