"""LoKr: the Kronecker product of two matrices, each of them whole or a pair of factors."""

from math import prod

from torch import Tensor

from clora_ext.adapters.products import KroneckerDelta
from clora_ext.errors import CheckpointError

from .alpha import AlphaRule
from .keys import Role
from .pair import times_core
from .parts import DAMAGED, Parts, trimmed

__all__ = ["check_lokr", "lokr_rank", "read_lokr"]


def check_lokr(parts: Parts) -> None:
    """Both matrices are there, and their product has the site's shape."""
    shape = trimmed(parts.site.shape)
    if len(shape) < 2:  # noqa: PLR2004 - a vector has no inputs
        raise parts.misfit(*parts.names)
    (a, c), (b, columns) = _left_shape(parts), _right_shape(parts)
    if (a * b, c * columns) != parts.site.matrix:
        raise parts.misfit(*(role for role in parts.names if role.startswith("lokr_")))


def lokr_rank(parts: Parts) -> int | None:
    """Of the factors that either matrix is made of; None: both are whole."""
    for role in ("lokr_w2_b", "lokr_w1_b"):
        if role in parts:
            return parts.shape(role)[0]
    return None


def read_lokr(parts: Parts, alphas: AlphaRule) -> KroneckerDelta:
    """scale * w1 (x) w2: LyCORIS' ``functional.lokr.make_kron``.

    The scale is alpha / rank. Two whole matrices have no rank: their scale is 1, whatever alpha says
    (LyCORIS), but for files with PEFT's configuration.
    """
    rank = lokr_rank(parts)
    if rank is None:
        configured = alphas.configs.whole_scale(parts.site)
        scale = 1.0 if configured is None else configured
    else:
        scale = alphas.alpha(parts, rank) / rank
    left = parts.read("lokr_w1") if "lokr_w1" in parts else parts.read("lokr_w1_a") @ parts.read("lokr_w1_b")
    return KroneckerDelta.of(left, _right(parts), scale)


def _right(parts: Parts) -> Tensor:
    """The second matrix, (rows, columns * kernel)."""
    if "lokr_w2" in parts:
        return parts.read("lokr_w2").flatten(start_dim=1)
    a, b = parts.read("lokr_w2_a"), parts.read("lokr_w2_b")
    if "lokr_t2" not in parts:
        return a @ b.flatten(start_dim=1)
    return a.T @ times_core(parts.read("lokr_t2"), b).flatten(start_dim=1)


def _refuse_both(parts: Parts, whole: Role, *factors: Role) -> None:
    """A matrix is whole, or a pair of factors."""
    if any(role in parts for role in factors):
        message = f"{parts.file.path}: {parts.site.module} has {whole} whole and in factors"
        raise CheckpointError(message, fix=DAMAGED)


def _left_shape(parts: Parts) -> tuple[int, int]:
    """Rows and columns of the first matrix."""
    if "lokr_w1" in parts:
        _refuse_both(parts, "lokr_w1", "lokr_w1_a", "lokr_w1_b")
        shape = parts.shape("lokr_w1")
        if len(shape) != 2:  # noqa: PLR2004 - a matrix
            raise parts.misfit("lokr_w1")
        return shape[0], shape[1]
    parts.require("lokr_w1_a", "lokr_w1_b")
    a, b = parts.shape("lokr_w1_a"), parts.shape("lokr_w1_b")
    if not (len(a) == len(b) == 2 and a[1] == b[0] > 0):  # noqa: PLR2004 - matrices
        raise parts.misfit("lokr_w1_a", "lokr_w1_b")
    return a[0], b[1]


def _right_shape(parts: Parts) -> tuple[int, int]:
    """Rows of the second matrix, and columns times places of the kernel."""
    kernel = parts.site.shape[2:]
    if "lokr_w2" in parts:
        _refuse_both(parts, "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
        shape = parts.shape("lokr_w2")
        if len(shape) < 2 or trimmed(shape)[2:] != trimmed(parts.site.shape)[2:]:  # noqa: PLR2004 - a matrix
            raise parts.misfit("lokr_w2")
        return shape[0], prod(shape[1:])
    parts.require("lokr_w2_a", "lokr_w2_b")
    a, b = parts.shape("lokr_w2_a"), parts.shape("lokr_w2_b")
    if not (len(a) == len(b) == 2 and b[0] > 0):  # noqa: PLR2004 - matrices
        raise parts.misfit("lokr_w2_a", "lokr_w2_b")
    if "lokr_t2" not in parts:
        if a[1] != b[0]:
            raise parts.misfit("lokr_w2_a", "lokr_w2_b")
        return a[0], b[1]
    if parts.shape("lokr_t2") != (a[0], b[0], *kernel):
        raise parts.misfit("lokr_t2", "lokr_w2_a", "lokr_w2_b")
    return a[1], b[1] * prod(kernel)
