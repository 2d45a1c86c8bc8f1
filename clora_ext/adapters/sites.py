"""Where adapters sit: layers of a model (targets), and the same layers as LoRA files know them. No torch."""

from dataclasses import dataclass
from math import prod
from typing import Literal

__all__ = ["Layout", "Parameter", "Site", "Target"]

Parameter = Literal["weight", "bias"]
"""Which of a module's parameters; the gain of a norm and the table of an embedding are weights too."""

Layout = Literal["matrix", "transposed", "vector"]
"""How a tensor of a checkpoint holds a parameter: its rows are the outputs, or its columns; or no matrix."""


@dataclass(frozen=True, slots=True)
class Site:
    """One parameter of the model that an adapter may change.

    Attributes:
        component: name of the network that it belongs to, as its family calls it.
        module: dotted path of the module, as diffusers and transformers name it; CLIP text encoders always
            with ``text_model.``, whatever the installed transformers calls it.
        original: dotted path of the module inside the denoiser of the original single-file layout, such as
            ``input_blocks.4.1.proj_in``; for text encoders the same as ``module``.
        shape: of the parameter: (out, in), or (out, in, kernel height, kernel width) of a convolution, or
            (out,) of a norm or a bias.
        parameter: which of the module's.
        rows: (first, one past the last) of the rows of ``original`` that it is, where that holds several
            modules below one another; None: all.
    """

    component: str
    module: str
    original: str
    shape: tuple[int, ...]
    parameter: Parameter = "weight"
    rows: tuple[int, int] | None = None

    @property
    def matrix(self) -> tuple[int, int]:
        """The shape seen as a matrix: (out, in * kernel height * kernel width); of a vector (out, 1).

        >>> Site("unet", "conv_in", "input_blocks.0.0", (320, 4, 3, 3)).matrix
        (320, 36)
        """
        return self.shape[0], prod(self.shape[1:])


@dataclass(frozen=True, slots=True)
class Target:
    """A parameter that adapters may change, seen as a matrix.

    Attributes:
        component: name of the network that it belongs to, as its family calls it.
        module: dotted path of the module in its component, as diffusers and transformers name it; in CLIP
            text encoders it always begins with ``text_model.``.
        tensor: the checkpoint's tensor that holds it.
        shape: (out, in); of a convolution (out, in * height * width); of a norm or a bias (out, 1).
        kernel: (height, width) of a convolution; None: a plain matrix.
        rows: (first, one past the last) of the tensor's rows that are this weight; None: all of them.
        original: dotted path of the module in its component as the checkpoint's layout names it; empty: the
            same as ``module``.
        parameter: which of the module's.
        layout: how the tensor holds it; a transposed one is never a part of a tensor.
        reads: what the layer's input is called, if others of its component read the same; empty: its own.
    """

    component: str
    module: str
    tensor: str
    shape: tuple[int, int]
    kernel: tuple[int, int] | None = None
    rows: tuple[int, int] | None = None
    original: str = ""
    parameter: Parameter = "weight"
    layout: Layout = "matrix"
    reads: str = ""

    @property
    def input_name(self) -> str:
        """Name of what the layer reads: the same for all layers that read the same."""
        return f"{self.component}.{self.reads or self.module}"

    @property
    def name(self) -> str:
        """The tensor's name, with the rows if it is a part."""
        return self.tensor if self.rows is None else f"{self.tensor}[{self.rows[0]}:{self.rows[1]}]"

    @property
    def stored_shape(self) -> tuple[int, int]:
        """The shape as the tensor has it, seen as a matrix: (in, out) of a transposed one."""
        return self.shape if self.layout != "transposed" else (self.shape[1], self.shape[0])

    @property
    def stored_rows(self) -> tuple[int, int]:
        """(first, one past the last) of the tensor's rows that the parameter is."""
        return self.rows or (0, self.stored_shape[0])

    @property
    def site(self) -> Site:
        """The same layer as LoRA files know it."""
        out_features, in_features = self.shape
        shape: tuple[int, ...] = self.shape if self.layout != "vector" else (out_features,)
        if self.kernel is not None:
            height, width = self.kernel
            shape = (out_features, in_features // (height * width), height, width)
        original = self.original or self.module
        rows = self.rows if original != self.module else None
        return Site(self.component, self.module, original, shape, self.parameter, rows)
