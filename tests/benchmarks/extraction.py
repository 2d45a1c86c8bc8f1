"""How long extracting a LoRA from everything learned takes, and how close it comes to the best possible."""

import time
from collections import Counter
from dataclasses import dataclass
from statistics import median

from model_shapes import RANK, unet_tensors

CONCEPTS = 3


@dataclass(frozen=True)
class Extraction:
    """CPU seconds for all attention of a model, from a part of it.

    Attributes:
        ours: a randomised decomposition of every layer's change.
        full: torch's whole one.
        excess: greatest error of ours over the least possible.
    """

    ours: float
    full: float
    excess: float


def measure(kind: str, sample: int = 5) -> Extraction:
    """Changes by several rank-64 concepts, cut to rank 64: ``sample`` times for every shape, whole once."""
    import torch

    from clora_ext.adapters.linalg import leading_factors

    tensors = unet_tensors(kind)
    ours = full = excess = 0.0
    for (out_features, in_features), count in Counter(
        tensors.shapes[name] for name in tensors.taught
    ).items():
        rng = torch.Generator().manual_seed(out_features + in_features)
        ups = torch.randn(out_features, CONCEPTS * RANK, generator=rng)
        delta = 1e-5 * ups @ torch.randn(CONCEPTS * RANK, in_features, generator=rng)
        leading_factors(delta, RANK, rng)  # libraries get ready
        taken = []
        for _ in range(sample):
            began = time.process_time()
            found, _ = leading_factors(delta, RANK, rng)
            taken.append(time.process_time() - began)
        ours += median(taken) * count
        began = time.process_time()
        _, values, _ = torch.linalg.svd(delta, full_matrices=False)
        full += (time.process_time() - began) * count
        excess = max(excess, float((delta - found.delta()).norm() / values[RANK:].norm()))
    return Extraction(ours, full, excess)
