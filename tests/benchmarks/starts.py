"""How long a concept's orthogonal start takes: here, and one SVD for each column as the paper's code does."""

import time
from dataclasses import dataclass
from statistics import median

from model_shapes import RANK, unet_tensors


@dataclass(frozen=True)
class Starts:
    """Seconds for all attention of a model, from a part of it.

    Attributes:
        ours: finding the used row space and leaving it.
        columns: the paper's SVDs alone; its old adapter is there, ours has to be found first.
        overlap: greatest norm(down @ earlier.T) / (norm(down) * norm(earlier)) that ours leaves.
        rank: least effective rank (exp of the entropy of the squared singular values) of our ``down``.
    """

    ours: float
    columns: float
    overlap: float
    rank: float


def measure(kind: str, sample: int = 5) -> Starts:
    """Ours on ``sample`` layers of every shape (the median), the paper's on a tenth of one's columns."""
    import torch

    from clora_ext import strategies
    from clora_ext.strategies.base import Layer

    strategy = strategies.load("orthogonal")
    tensors = unet_tensors(kind)
    shapes: dict[tuple[int, ...], int] = {}
    for name in tensors.taught:
        shapes[tensors.shapes[name]] = shapes.get(tensors.shapes[name], 0) + 1
    ours = columns = overlap = 0.0
    effective = float(RANK)
    for (out_features, in_features), count in shapes.items():
        rng = torch.Generator().manual_seed(out_features + in_features)
        taken = []
        for _ in range(sample):
            up, down = (
                torch.randn(out_features, RANK, generator=rng),
                torch.randn(RANK, in_features, generator=rng),
            )
            origin = torch.randn(out_features, in_features, generator=rng) * 0.02
            layer = Layer("layer", origin, origin + 1e-5 * up @ down)
            strategy.begin(layer, RANK, RANK, rng)  # libraries get ready
            began = time.process_time()
            start = strategy.begin(layer, RANK, RANK, rng)
            taken.append(time.process_time() - began)
            new = start.factors.down
            crossed = (new.double() @ layer.earlier.double().T).norm() / (new.norm() * layer.earlier.norm())
            overlap = max(overlap, float(crossed))
            squares = torch.linalg.svdvals(new).square()
            share = squares / squares.sum()
            effective = min(effective, float(torch.exp(-(share * share.log()).sum())))
        ours += median(taken) * count
        some = in_features // 10
        began = time.process_time()
        for column in range(some):
            torch.linalg.svd(down[:, column].reshape(1, RANK), full_matrices=True)
        columns += (time.process_time() - began) * count * in_features / some
    return Starts(ours, columns, overlap, effective)
