"""Whole changes: a value for every number of a weight, a norm or a bias (LyCORIS' ``full`` and ``norm``)."""

from dataclasses import dataclass, replace

from torch import Tensor

from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.spans import reading

from .alpha import AlphaRule
from .keys import Role
from .parts import Parts, trimmed

__all__ = ["StoredDelta", "check_whole", "read_whole"]

_ROLES: tuple[Role, ...] = ("diff", "w_norm", "diff_b", "b_norm")


@dataclass(frozen=True, slots=True)
class StoredDelta:
    """A whole change that stays in its file until its rows are asked for, or some rows of one.

    Attributes:
        file: that holds it.
        name: of its tensor.
        scale: what it is multiplied by.
        first: the first row.
        last: one past the last.
        columns: of the weight seen as a matrix; 1 of a vector.
    """

    file: Checkpoint
    name: str
    scale: float
    first: int
    last: int
    columns: int

    @property
    def rank(self) -> int:
        """The smaller side."""
        return min(self.last - self.first, self.columns)

    def delta(self) -> Tensor:
        """The change, (last - first, columns)."""
        with reading() as files:
            rows = self.file.read_rows(self.name, self.first, self.last, files)
        return rows.float().mul_(self.scale)

    def rows(self, start: int, stop: int) -> "StoredDelta":
        """These rows."""
        return replace(self, first=self.first + start, last=self.first + stop)

    def scaled(self, strength: float) -> "StoredDelta":
        """``strength`` times the change."""
        return replace(self, scale=self.scale * strength)


def check_whole(parts: Parts) -> None:
    """The change has the parameter's own shape."""
    role = _role(parts)
    if trimmed(parts.shape(role)) != trimmed(parts.site.shape):
        raise parts.misfit(role)


def read_whole(parts: Parts, alphas: AlphaRule) -> StoredDelta:
    """The change as it stands: no program scales it by alpha.

    Every value is looked at once, so that a broken file is refused before anything is folded.
    """
    del alphas
    role = _role(parts)
    parts.read(role)
    out, columns = parts.site.matrix
    return StoredDelta(parts.file, parts.names[role], 1.0, 0, out, columns)


def _role(parts: Parts) -> Role:
    """Which of the names the change has."""
    return next(role for role in _ROLES if role in parts)
