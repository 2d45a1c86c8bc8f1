"""The directions that the rows of a large matrix use, found from some of the rows."""

import torch
from torch import Tensor

from .linalg import row_space

__all__ = ["sampled_row_space"]

_PROBES = 16
_ROWS_FOR_EACH = 2  # rows that are combined, for each direction looked for
_SAFE = 0.75  # of what may be left out: what probes tell is only about right
# Squared lengths below this share of the greatest are what float32 leaves of nothing.
_NOISE = 1e-13


def sampled_row_space(
    matrix: Tensor, *, energy: float, limit: int, rng: torch.Generator, expected: int
) -> Tensor:
    """An orthonormal basis (in, k) of directions that hold most of the rows of ``matrix`` (out, in).

    Random combinations of some rows span what all rows use, if that is about ``expected`` directions. Random
    combinations of all rows then tell what share of the squared norm lies in which of them, and how much in
    none: it costs a quarter of a product of the whole matrix with as many columns. Where too much is missed,
    twice as many are tried, and :func:`row_space` in the end.

    Args:
        matrix: (out, in), float32.
        energy: share of the squared norm to hold, in (0, 1), as the combinations tell.
        limit: the greatest k allowed.
        rng: draws rows and combinations.
        expected: about how many directions there are; tried first.

    Returns:
        (in, k), about in descending order; there may be some directions more than are needed.
    """
    rows, columns = matrix.shape
    probes = torch.randn(_PROBES, rows, generator=rng) @ matrix
    needed = 1 - _SAFE * (1 - energy)
    width = expected
    while _ROWS_FOR_EACH * width <= min(rows, columns):
        basis = _combined(matrix, width, rng)
        held = (probes @ basis).double().square().sum(dim=0).cumsum(0) / probes.double().square().sum()
        count = int((held < needed).sum()) + 1
        if count <= min(limit, basis.shape[1]):
            return basis[:, :count]
        if count <= basis.shape[1]:  # more than are allowed: the leading ones are wanted
            break
        width *= 2
    return row_space(matrix, energy=energy, limit=limit, rng=rng, expected=width)


def _combined(matrix: Tensor, width: int, rng: torch.Generator) -> Tensor:
    """An orthonormal basis (in, at most ``width``) of random combinations of some rows, the longest first.

    From the eigenvectors of their products with each other, in float64: squares lose half of the digits.
    """
    chosen = torch.randperm(matrix.shape[0], generator=rng)[: _ROWS_FOR_EACH * width]
    combined = (torch.randn(width, len(chosen), generator=rng) @ matrix[chosen]).double()
    squares, vectors = torch.linalg.eigh(combined @ combined.T)
    real = squares > _NOISE * squares[-1]
    basis: Tensor = combined.T @ (vectors[:, real] / squares[real].sqrt())
    return basis.flip(1).float()
