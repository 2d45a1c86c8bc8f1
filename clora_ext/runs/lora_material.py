"""A finished LoRA as what a run learns from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target

if TYPE_CHECKING:
    from clora_ext.formats.lora.contents import KindCount
    from clora_ext.formats.lora.reader import Change

__all__ = ["LoraMaterial"]


@dataclass(frozen=True, slots=True)
class LoraMaterial:
    """A finished LoRA, read.

    Attributes:
        changes: at the asked strength, by what they change.
        kinds: what they are made of.
        parameters: how many numbers that is.
        dialect: whose names the file uses.
        weight: the asked strength.
        sha256: of the file.
        file_name: without its folder.
        notes: what a user should know about the file.
    """

    changes: "Mapping[Target, Change]"
    kinds: "tuple[KindCount, ...]"
    parameters: int
    dialect: str
    weight: float
    sha256: str
    file_name: str
    notes: tuple[str, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """The smallest and the largest rank of the factors; empty if nothing has any."""
        found = [rank for kind in self.kinds for rank in kind.ranks or ()]
        return (min(found), max(found)) if found else ()

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest keeps in the place of training settings."""
        return {"lora": self.file_name, "weight": self.weight, "dialect": self.dialect}
