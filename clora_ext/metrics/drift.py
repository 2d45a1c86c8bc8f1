"""How far an edited model's drawings of what nobody taught have moved from the base's."""

import numpy as np
from numpy.typing import NDArray

from clora_ext.errors import UsageError

__all__ = ["kernel_distance", "paired_distance"]

_DEGREE = 3


def kernel_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """KID: the unbiased squared MMD with the kernel (x . y / d + 1)^3 (arXiv 1801.01401, section 4).

    0 in expectation where both sets come from one distribution; a sample's value may be below.

    Args:
        first: features (m, d) of at least two pictures.
        second: features (n, d) of at least two others.

    Raises:
        UsageError: there are fewer than two pictures, or features of different lengths.
    """
    if min(len(first), len(second)) < 2:  # noqa: PLR2004 - the estimate leaves out the diagonal
        raise UsageError("a kernel distance needs two pictures of each model", fix="draw more")
    if first.shape[1] != second.shape[1]:
        raise UsageError("the features are of different lengths", fix="take both from the same encoder")
    own = _off_diagonal(_kernel(first, first)) + _off_diagonal(_kernel(second, second))
    return own - 2 * float(_kernel(first, second).mean())


def paired_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Mean over pairs of |a - b| / |b|: what the same noise and prompt have become.

    Args:
        first: latents or features (n, d) by the edited model.
        second: by the base, from the same noises and prompts in the same order.
    """
    if first.shape != second.shape:
        raise UsageError("the two models were not asked for the same pictures", fix="draw pairs")
    return float((np.linalg.norm(first - second, axis=1) / np.linalg.norm(second, axis=1)).mean())


def _kernel(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel: NDArray[np.float64] = (first @ second.T / first.shape[1] + 1) ** _DEGREE
    return kernel


def _off_diagonal(kernel: NDArray[np.float64]) -> float:
    """Mean of all elements but the diagonal's."""
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
