"""What vectors of pictures say: likeness, drift, and the distance of two sets of pictures."""

from torch import Tensor

__all__ = ["kernel_distance", "likeness", "likeness_across", "paired_drift"]


def likeness(drawn: Tensor, references: Tensor) -> Tensor:
    """Mean cosine of each drawing with all references, (n,): CLIP-I, DINO and CSD; with texts, CLIP-T.

    Args:
        drawn: unit vectors (n, width).
        references: unit vectors (m, width).

    >>> import torch
    >>> likeness(torch.eye(2), torch.eye(2))
    tensor([0.5000, 0.5000])
    """
    return (drawn @ references.T).mean(dim=1)


def likeness_across(drawn: Tensor, references: Tensor) -> Tensor:
    """As :func:`likeness`, but no drawing is compared with the one of its own noise, (n,).

    What a model draws by the same noise looks alike even where it shows something else, and two drawings of
    one thing by two noises do not: so drawings can be compared with those of another model without counting
    the composition.

    Args:
        drawn: unit vectors (n, width), in the order of their noises; n is 2 or more.
        references: unit vectors (n, width) of the same noises.
    """
    cosines = drawn @ references.T
    return (cosines.sum(dim=1) - cosines.diagonal()) / (len(drawn) - 1)


def paired_drift(before: Tensor, after: Tensor) -> Tensor:
    """1 - cosine of each pair, (n,): how far a model's drawings went from another's, noise by noise.

    Args:
        before: unit vectors (n, width).
        after: unit vectors (n, width) by the same prompts with the same noises.
    """
    return 1 - (before * after).sum(dim=1)


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy of two sets; 0 for sets of one kind, or a little below.

    With a cubic kernel, as the Kernel Inception Distance (arXiv 1801.01401, equation 4). That one takes the
    features of Inception-v3 with k(x, y) = (x.y / width + 1)^3; here vectors have length 1, and
    k(x, y) = (x.y + 1)^3 is the same kernel of vectors whose entries have a mean square of 1. So the numbers
    compare with one another, by one scorer, and not with published ones.

    Args:
        first: unit vectors (n, width), n is 2 or more.
        second: unit vectors (m, width), m is 2 or more.
    """
    first, second = first.double(), second.double()
    within = sum(_mean_of_pairs((1 + one @ one.T) ** 3) for one in (first, second))
    return float(within - 2 * ((1 + first @ second.T) ** 3).mean())


def _mean_of_pairs(kernel: Tensor) -> Tensor:
    """The mean without what each has with itself."""
    count = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))
