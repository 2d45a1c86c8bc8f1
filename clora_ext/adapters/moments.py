"""Second moments of what layers read: E[x x^T], whole up to a width, low-rank plus diagonal beyond it.

Whatever is done to one, it stays symmetric and without negative eigenvalues, because it is held as F F^T + a
diagonal; rounding F does not change that. Everything here changes none of its tensors.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["FULL_WIDTH", "RANK", "Moment", "MomentSum"]

FULL_WIDTH = 2048
"""Widest input whose moment is whole. SDXL's attention reads 1280 and its text 2048, 0.41 GB in all; what its
MLPs read (5120) would take 1.6 GB more, and takes 0.08 GB."""

RANK = 128
"""Directions of a wider one that are kept apart; the rest is a variance for each input."""

# Directions that a sketch follows beyond the wanted rank.
_SPARE = 64
# Of the mean variance: what is added before a Cholesky factorisation, and the factor by which it grows until
# one exists.
_LEAST_JITTER = 2.0**-24
_GROWTH = 8


@dataclass(frozen=True, slots=True)
class Moment:
    """The matrix factor @ factor.T + diag(diagonal), (width, width).

    Layers that read the same input share one object, wherever it is moved.

    Attributes:
        factor: (width, k), float32 or bfloat16; of a whole moment lower triangular, k = width.
        diagonal: (width,), of the same dtype, not negative; of a whole moment zeros.
    """

    factor: Tensor
    diagonal: Tensor
    _moved: dict[torch.device, "Moment"] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(matrix: Tensor) -> "Moment":
        """A symmetric positive semidefinite matrix (width, width), whole, in float32."""
        factor = _cholesky(matrix.double()).float()
        return Moment(factor, factor.new_zeros(len(factor)))

    @property
    def width(self) -> int:
        """Numbers in an input."""
        return self.factor.shape[0]

    @property
    def is_whole(self) -> bool:
        """Whether every direction is kept apart."""
        return self.factor.shape[0] == self.factor.shape[1]

    @property
    def mean_variance(self) -> float:
        """Mean of the matrix's diagonal."""
        through = self.factor.double().square().sum(dim=1)
        return float((through + self.diagonal.double()).mean())

    def rounded(self) -> "Moment":
        """In bfloat16, as it is kept: every number of F to within 2^-9 of itself."""
        return Moment(self.factor.bfloat16(), self.diagonal.bfloat16())

    def to(self, device: torch.device) -> "Moment":
        """The same on ``device``, copied there once."""
        if device == self.factor.device:
            return self
        if device not in self._moved:
            self._moved[device] = Moment(self.factor.to(device), self.diagonal.to(device))
        return self._moved[device]

    def dense(self) -> Tensor:
        """The matrix itself, float64."""
        factor = self.factor.double()
        return torch.addmm(torch.diag(self.diagonal.double()), factor, factor.T)

    def apply(self, rows: Tensor) -> Tensor:
        """rows @ the matrix: (n, width) of (n, width), in the rows' dtype."""
        factor = self.factor.to(rows.dtype)
        return torch.addcmul((rows @ factor) @ factor.T, rows, self.diagonal.to(rows.dtype))

    def energy(self, weight: Tensor) -> float:
        """tr(W G W^T): the mean squared norm of what a layer of this weight (out, width) answers."""
        through = (weight @ self.factor.float()).square().sum(dtype=torch.float64)
        return float(through + (weight.square() @ self.diagonal.float()).sum(dtype=torch.float64))

    def plus(self, other: "Moment") -> "Moment":
        """The sum with another of the same width, float32, as large as each of them."""
        if self.is_whole:
            return Moment.of(self.dense() + other.dense())
        both = torch.cat([self.factor, other.factor], dim=1).double()
        variances = both.square().sum(dim=1) + self.diagonal.double() + other.diagonal.double()
        values, turned = torch.linalg.eigh(both.T @ both)  # ascending
        del values
        return _cut(both @ turned.flip(1), variances, RANK)


@dataclass(slots=True)
class MomentSum:
    """The sum of x x^T over inputs as they are seen, one after another.

    Of inputs wider than :data:`FULL_WIDTH` a sketch is summed, (sum x x^T) @ test with a fixed random test
    matrix (Tropp, Yurtsever, Udell and Cevher 2017, arXiv 1706.05736), and the exact sum of squares.

    Attributes:
        width: numbers in an input.
        count: inputs so far.
    """

    width: int
    count: int = 0
    _total: Tensor | None = None
    _squares: Tensor | None = None
    _test: Tensor | None = None

    def add(self, inputs: Tensor) -> None:
        """Count rows of inputs, (n, width), float32; the sums lie where they do."""
        if self._total is None or self._squares is None:
            self._test = None if self.width <= FULL_WIDTH else _test_matrix(self.width).to(inputs.device)
            columns = self.width if self._test is None else self._test.shape[1]
            self._total = inputs.new_zeros(self.width, columns)
            self._squares = inputs.new_zeros(self.width)
        self._total.addmm_(inputs.T, inputs if self._test is None else inputs @ self._test)
        self._squares.add_(inputs.square().sum(dim=0))
        self.count += inputs.shape[0]

    def mean(self) -> Moment | None:
        """E[x x^T] on the processor, float32; None: nothing was seen."""
        if self._total is None or self._squares is None:
            return None
        total, variances = (part.cpu().double() / self.count for part in (self._total, self._squares))
        if self._test is None:
            return Moment.of(total)
        return _from_sketch(total, self._test.cpu().double(), variances)


def _test_matrix(width: int) -> Tensor:
    """The same for every input of a width: (width, RANK + spare)."""
    return torch.randn(width, RANK + _SPARE, generator=torch.Generator().manual_seed(width))


def _cholesky(matrix: Tensor) -> Tensor:
    """L with L L^T = the matrix and as little more on the diagonal as rounding makes necessary, float64."""
    matrix = matrix.double()
    mean = matrix.diagonal().mean()
    if not mean > 0:
        return torch.zeros_like(matrix)
    jitter = _LEAST_JITTER
    while True:
        factor: Tensor
        shifted = matrix + torch.diag((mean * jitter).expand(len(matrix)))
        factor, problem = torch.linalg.cholesky_ex(shifted)
        if not problem:
            return factor
        jitter *= _GROWTH


def _from_sketch(sketch: Tensor, test: Tensor, variances: Tensor) -> Moment:
    """The moment whose product with the test matrix is the sketch: fixed-rank Nyström approximation.

    Algorithm 3 of arXiv 1706.05736; what it misses of each variance goes to the diagonal.
    """
    shift = torch.finfo(torch.float32).eps * float(sketch.norm())
    if shift == 0:
        return _cut(sketch[:, :RANK], variances, RANK)
    shifted = sketch + shift * test
    core = test.T @ shifted
    root = _cholesky((core + core.T) / 2)
    half = torch.linalg.solve_triangular(root.T, shifted, upper=True, left=False)
    left, values, _ = torch.linalg.svd(half, full_matrices=False)
    roots = (values.square() - shift).clamp(min=0).sqrt()
    return _cut(left * roots, variances, RANK)


def _cut(factor: Tensor, variances: Tensor, rank: int) -> Moment:
    """The leading columns of a factor in descending order; the diagonal makes up for each variance."""
    kept = factor[:, :rank].contiguous()
    missing = (variances - kept.square().sum(dim=1)).clamp(min=0)
    return Moment(kept.float(), missing.float())
