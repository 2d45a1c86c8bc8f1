"""Linear algebra of changes and adapters: the larger of two changes, projections, leading directions.

Everything here takes float32 tensors, changes none of them and returns new ones. Weights of layers are
seen as matrices of shape ``(out, in)``.
"""

import torch
from torch import Tensor

from .factors import Factors

__all__ = [
    "complement",
    "larger",
    "leading_factors",
    "row_space",
    "select",
    "square_sum",
    "squared_norm",
    "thin_svd",
]

# Directions that an extraction follows beyond the wanted rank: so many, or half the rank if that is more.
# With them and two power iterations the error is within 2 % of the best possible even for white noise.
_OVERSAMPLING = 16
_EXTRACTION_PASSES = 2
_RANGE_PASSES = 1


def larger(a: Tensor, b: Tensor) -> Tensor:
    """Per element, whichever has the greater magnitude; ties go to ``a``.

    >>> larger(torch.tensor([1.0, -3.0, 2.0]), torch.tensor([-2.0, 2.0, -2.0]))
    tensor([-2., -3.,  2.])
    """
    return select(a.abs() >= b.abs(), a, b)


def select(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a`` where ``condition`` (bool) holds, else ``b``; all of one shape, ``a`` and ``b`` float32.

    What torch.where gives, from the bits: on a condition without pattern that takes a third of the time.

    >>> select(torch.tensor([True, False]), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor([1., 4.])
    """
    mask = condition.to(torch.int32).neg_()
    other = b.view(torch.int32)
    return mask.bitwise_and_(a.view(torch.int32) ^ other).bitwise_xor_(other).view(torch.float32)


def square_sum(matrix: Tensor) -> float:
    """The squared Frobenius norm of a float32 matrix; float64 over its rows, float32 within them.

    >>> square_sum(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    29.0
    """
    return float(torch.linalg.vector_norm(matrix, dim=1).double().square().sum())


def row_space(
    matrix: Tensor, *, energy: float, limit: int, rng: torch.Generator, expected: int = 32
) -> Tensor:
    """An orthonormal basis (in, k) of the directions that the rows of ``matrix`` (out, in) use.

    A randomised range finder (Halko, Martinsson and Tropp 2011, algorithm 4.1), with one power iteration
    where that is not enough (4.4), whose width then doubles until the basis holds the share ``energy`` of the
    squared Frobenius norm, at the most ``limit`` columns. The columns are the leading right-singular vectors,
    in descending order.

    Args:
        matrix: (out, in), float32.
        energy: share of the squared norm to hold, in (0, 1].
        limit: the greatest k allowed.
        rng: draws the test matrix.
        expected: about how many directions there are; tried first.

    Returns:
        (in, k); k is 0 for a zero matrix or a limit of 0.
    """
    out_features, in_features = matrix.shape
    total = square_sum(matrix)
    most = min(limit, out_features, in_features)
    if total == 0 or most <= 0:
        return matrix.new_zeros(in_features, 0)
    width = min(expected, out_features, in_features)
    while True:
        test = torch.randn(out_features, width, generator=rng)
        for _ in range(1 + _RANGE_PASSES):
            rows, _ = torch.linalg.qr(matrix.T @ test)
            test, values, turned = torch.linalg.svd(matrix @ rows, full_matrices=False)
            held = values.double().square().cumsum(0) / total
            # Rounding keeps the sum a little below the whole: count what is needed of what was found.
            enough = int((held < energy * (1 - 1e-6)).sum()) + 1
            if enough <= width or width == min(out_features, in_features):
                basis: Tensor = rows @ turned[: min(enough, most)].T
                return basis
        width = min(2 * width, out_features, in_features)


def thin_svd(matrix: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Singular vectors and values of all but the last millionth of the squared norm; see :func:`row_space`.

    Args:
        matrix: (out, in), float32.
        rng: draws the test matrix.

    Returns:
        Left vectors (out, k), values (k,) in descending order, right vectors (in, k); k is 0 of zeros.
    """
    right = row_space(matrix, energy=1.0, limit=min(matrix.shape), rng=rng)
    scaled = matrix @ right
    values = torch.linalg.vector_norm(scaled, dim=0)
    return scaled / values, values, right


def leading_factors(delta: Tensor, rank: int, rng: torch.Generator) -> tuple[Factors, float]:
    """The adapter of a given rank that comes closest to ``delta``, and how much of it that is.

    A randomised singular value decomposition (Halko, Martinsson and Tropp 2011, algorithm 5.1). The square
    root of each singular value stands on either side, so that both factors survive rounding alike.

    Args:
        delta: a change of weights, (out, in), float32, finite.
        rank: at least 1; no more than min(out, in) is used.
        rng: draws the test matrix.

    Returns:
        Factors with alpha = rank, and the share of the squared Frobenius norm that they hold, in [0, 1];
        1 for a delta of zeros.
    """
    rank = min(rank, *delta.shape)
    width = min(rank + max(_OVERSAMPLING, rank // 2), *delta.shape)
    rows = _range(delta, width, rng)
    sketch = delta @ rows
    # The singular vectors of what is left are those of a small matrix of products; in float64, because
    # squares lose half of the digits.
    exact = sketch.double()
    _, turned = torch.linalg.eigh(exact.T @ exact)
    leading = turned.float().flip(1)[:, :rank]
    left, right = sketch @ leading, rows @ leading
    values = torch.linalg.vector_norm(left, dim=0)
    roots = values.sqrt()
    up = left / roots.clamp(min=torch.finfo(roots.dtype).tiny)
    total, held = square_sum(delta), float(values.double().square().sum())
    factors = Factors((right * roots).T.contiguous(), up, float(rank))
    return factors, min(held / total, 1.0) if total else 1.0


def _range(matrix: Tensor, width: int, rng: torch.Generator) -> Tensor:
    """Orthonormal columns (in, width) that nearly span the leading right-singular vectors.

    It begins with sums of some rows each, every row in one of them, instead of combinations of all (a sparse
    test matrix, Clarkson and Woodruff 2013): power iterations make up for what that lacks. The columns are
    made orthogonal once in an iteration. Between its two products they are only brought to one length:
    float32 still tells them apart there, and it takes no time.
    """
    rows = _of_one_length(_random_sums(matrix, width, rng).T)
    for _ in range(_EXTRACTION_PASSES):
        columns = _of_one_length(matrix @ rows)
        rows, _ = torch.linalg.qr(matrix.T @ columns)
    return rows


def _random_sums(matrix: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Sums of random rows, each times a random number; (count, in)."""
    order = torch.randperm(matrix.shape[0], generator=rng)
    weights = torch.randn(matrix.shape[0], 1, generator=rng)
    sums = matrix.new_zeros(count, matrix.shape[1])
    for chosen in torch.split(order, count):
        sums[: len(chosen)].addcmul_(torch.index_select(matrix, 0, chosen), weights[chosen])
    return sums


def _of_one_length(columns: Tensor) -> Tensor:
    """The columns, each divided by its length, in place."""
    lengths = torch.linalg.vector_norm(columns, dim=0)
    return columns.div_(lengths.clamp_(min=torch.finfo(lengths.dtype).tiny))


def complement(down: Tensor, basis: Tensor) -> Tensor:
    """``down`` (rank, in) without its part in the span of the orthonormal ``basis`` (in, k).

    >>> complement(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0], [0.0]]))
    tensor([[0., 4.]])
    """
    return down - (down @ basis) @ basis.T


def squared_norm(factors: Factors, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """sum of rows_i * columns_j * delta_ij^2, without the delta; gradients flow through.

    sum_ij a_i b_j (B A)_ij^2 = sum((B^T diag(a) B) * (A diag(b) A^T)), both (rank, rank).

    Args:
        factors: of the delta, (out, in).
        rows: a weight for each row, (out,); None: 1 each.
        columns: a weight for each column, (in,); None: 1 each.

    Returns:
        A scalar.

    >>> squared_norm(Factors(torch.ones(1, 3), torch.ones(2, 1), alpha=2.0))
    tensor(24.)
    """
    up, down = factors.up, factors.down
    left = up.T @ (up if rows is None else rows[:, None] * up)
    right = (down if columns is None else down * columns) @ down.T
    return factors.scale**2 * (left * right).sum()
