"""The directions that a large layer's change uses, found from a sketch of it: sums of its rows."""

import torch
from torch import Tensor

from .linalg import row_space

__all__ = ["sketched_row_space"]

_SAFE = 0.75  # of what may be left out: what sums tell is only about right
# Squared lengths below this share of the greatest are what float32 leaves of nothing.
_NOISE = 1e-13


def sketched_row_space(
    after: Tensor, before: Tensor, *, energy: float, limit: int, rng: torch.Generator, expected: int
) -> Tensor:
    """An orthonormal basis (in, k) of directions that hold most of the rows of ``after - before``.

    Sums of rows, each times a random number, span what all rows use, if that is no more than there are sums
    (a sparse test matrix, Clarkson and Woodruff 2013, takes one pass). Other sums of the same rows tell what
    share of the squared norm lies in which direction, and how much in none. Where too much is missed, twice
    as many are tried, and :func:`row_space` in the end.

    Args:
        after: (out, in), float32.
        before: the same.
        energy: share of the difference's squared norm to hold, in (0, 1), as the sums tell.
        limit: the greatest k allowed.
        rng: draws the numbers.
        expected: about how many directions there are; tried first.

    Returns:
        (in, k), about in descending order; there may be some directions more than are needed.
    """
    width = expected
    while 2 * width <= min(after.shape):
        sums, probes = _sketches(after, before, width, rng)
        basis = _orthonormal(sums)
        held = (probes @ basis).square_().sum(dim=0, dtype=torch.float64).cumsum(0)
        whole = probes.square_().sum(dtype=torch.float64)
        count = int((held < whole * (1 - _SAFE * (1 - energy))).sum()) + 1
        if count <= min(limit, basis.shape[1]):
            return basis[:, :count]
        if count <= basis.shape[1]:  # more than are allowed: the leading ones are wanted
            break
        width *= 2
    return row_space(after - before, energy=energy, limit=limit, rng=rng, expected=width)


def _sketches(after: Tensor, before: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two times ``count`` sums (count, in) of the difference's rows, which is nowhere as a whole.

    A row is in one sum of each kind: times a number from the normal distribution in the first, with a random
    sign in the second, so that the squared length of the sums is about that of the rows, whatever they are.
    """
    rows, columns = after.shape
    numbers = torch.randn(rows, 1, generator=rng)
    signs = torch.randint(2, (rows, 1), generator=rng).mul_(2).sub_(1).float()
    sums, probes, block = (after.new_zeros(count, columns) for _ in range(3))
    parts = (torch.split(tensor, count) for tensor in (after, before, numbers, signs))
    for now, then, number, sign in zip(*parts, strict=True):
        size = len(now)
        difference = torch.sub(now, then, out=block[:size])
        sums[:size].addcmul_(difference, number)
        probes[:size].addcmul_(difference, sign)
    return sums, probes


def _orthonormal(sums: Tensor) -> Tensor:
    """An orthonormal basis (in, at most count) of the directions of ``sums`` (count, in), the longest first.

    From the eigenvectors of their products with each other, in float64: squares lose half of the digits.
    """
    exact = sums.double()
    squares, vectors = torch.linalg.eigh(exact @ exact.T)
    real = int((squares > _NOISE * squares[-1]).sum())
    longest = (vectors[:, -real:] / squares[-real:].sqrt()).flip(1) if real else vectors[:, :0]
    basis: Tensor = exact.T @ longest
    return basis.float()
