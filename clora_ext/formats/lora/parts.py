"""The tensors of one site's adapter, read with distrust."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.text import quoted

from .keys import Role
from .refusal import listed, refuse_other_model

__all__ = ["DAMAGED", "Parts", "trimmed"]

DAMAGED = "the file is damaged; download or export it again"
"""What to do about a file that contradicts itself."""

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What a file holds of one site.

    Attributes:
        file: the LoRA.
        site: of the model.
        names: its tensors, by their roles.
        model: what kind of model all the sites are of, if that is known; see :func:`recognise_sites`.
    """

    file: Checkpoint
    site: Site
    names: Mapping[Role, str]
    model: str | None = None

    def __contains__(self, role: object) -> bool:
        """Whether the file holds such a part."""
        return role in self.names

    def shape(self, role: Role) -> tuple[int, ...]:
        """The stored shape of a part that is there."""
        return self.file.info(self.names[role]).shape

    def parameters(self) -> int:
        """How many numbers the adapter has, alpha left out."""
        return sum(prod(self.shape(role)) for role in self.names if role != "alpha")

    def read(self, role: Role) -> Tensor:
        """A part that is there, in its own shape, float32.

        Raises:
            CheckpointError: it is stored too coarsely, or a value is not finite.
        """
        self.check_dtype(role)
        tensor = self.file.read_float(self.names[role])
        if not torch.isfinite(tensor).all():
            message = f"{self.file.path}: tensor {quoted(self.names[role])} has values that are not finite"
            raise CheckpointError(message, fix="the training broke down; use an earlier version of the LoRA")
        return tensor

    def check_dtype(self, role: Role) -> None:
        """Refuse a part that is no tensor of floating-point numbers of 16 bits or more."""
        dtype = self.file.info(self.names[role]).dtype
        if dtype not in _FLOATS:
            name = quoted(self.names[role])
            message = f"{self.file.path}: tensor {name} is {dtype}, too coarse, or not a number format"
            raise CheckpointError(message, fix="use an fp16, bf16 or fp32 version of the LoRA")

    def require(self, *roles: Role) -> None:
        """Make sure that these parts are there.

        Raises:
            CheckpointError: with those that are missing.
        """
        missing = [role for role in roles if role not in self.names]
        if missing:
            message = (
                f"{self.file.path}: the {' and the '.join(missing)} factor of {self.site.module} is missing, "
                f"there is only {listed(list(self.names.values()))}"
            )
            raise CheckpointError(message, fix=DAMAGED)

    def check_shapes(self, shapes: Mapping[Role, tuple[int, ...]]) -> None:
        """Make sure that parts have these shapes; a kernel of 1 x 1 may be written or left out.

        Raises:
            CheckpointError: one has another, or holds nothing.
        """
        fits = all(trimmed(self.shape(role)) == trimmed(shape) for role, shape in shapes.items())
        if not fits or any(0 in shape for shape in shapes.values()):
            raise self.misfit(*shapes)

    def misfit(self, *roles: Role) -> CheckpointError:
        """The complaint about shapes that do not fit, or about another model if the file is for one."""
        refuse_other_model(self.file, self.model)
        found = (f"{quoted(self.names[role])} {list(self.shape(role))}" for role in roles)
        message = (
            f"{self.file.path}: {' and '.join(found)} do not fit the layer's {self.site.parameter} "
            f"{list(self.site.shape)}"
        )
        return CheckpointError(message, fix="check that it was trained on this kind of model")


def trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without a kernel of 1 x 1, which some files write and others leave out."""
    return shape[:2] if shape[2:] == (1, 1) else shape
