"""How far a new change reads what all earlier changes read, before it is folded."""

from collections.abc import Iterator
from math import sqrt

import torch
from torch import Tensor

from clora_ext.adapters.factors import Factors

from .model import Evolving
from .trained_concept import TrainedConcept

__all__ = ["interference", "overlap"]


def interference(evolving: Evolving, concept: TrainedConcept) -> float | None:
    """The overlap of the new change tau with what was learned so far, D = current - origin, over all layers.

    sqrt(sum ||tau D^T||^2) / sqrt(sum ||tau||^2 ||D||^2), Frobenius norms, from 0 to 1.

    0: no input direction that moves the one moves the other, so that neither disturbs the other whatever is
    added to what. 1: both hang on the same one direction. Changes that know nothing of one another come to
    about 1 / sqrt(in), 0.03 to 0.06 in the layers of Stable Diffusion. It says what could collide, not what
    is forgotten.

    Args:
        evolving: the model before.
        concept: what was trained; changes that are no pair of factors are left out.

    Returns:
        None: nothing was learned before, or nothing that can be compared.
    """
    shared = product = 0.0
    for new, earlier in _changes(evolving, concept):
        here, sizes = overlap(new, earlier)
        shared, product = shared + here, product + sizes
    return sqrt(shared / product) if product > 0 else None


def overlap(new: Factors, earlier: Tensor) -> tuple[float, float]:
    """||tau D^T||^2 and ||tau||^2 ||D||^2 of one layer, without tau or the product ever being formed.

    Args:
        new: tau, (out, in).
        earlier: D, (out, in), float32.

    >>> same = Factors(torch.eye(1, 2), torch.ones(3, 1), alpha=1.0)
    >>> overlap(same, same.delta()), overlap(same, torch.tensor([[0.0, 2.0]]).expand(3, 2))
    ((9.0, 9.0), (0.0, 36.0))
    """
    gram = (new.up.T @ new.up).double() * new.scale**2  # (rank, rank)
    reached = (new.down @ earlier.T).double()  # (rank, out)
    shared = float((gram * (reached @ reached.T)).sum())
    size = float((gram * (new.down @ new.down.T).double()).sum())
    return max(shared, 0.0), max(size, 0.0) * float(earlier.double().square().sum())


def _changes(evolving: Evolving, concept: TrainedConcept) -> Iterator[tuple[Factors, Tensor]]:
    """tau and D, layer by layer, of the layers that were taught before."""
    if evolving.memory is None:
        return
    targets = {target.name: target for target in evolving.changeable(list(concept.targets.values()))}
    for name, trained in concept.trained.items():
        if name in targets and isinstance(trained, Factors):
            layer = evolving.layer(targets[name], "")
            yield _since(trained, concept.started.get(name)), layer.current - layer.origin


def _since(trained: Factors, started: Factors | None) -> Factors:
    """What an adapter has changed since its training began; None: it began with nothing."""
    if started is None:
        return trained
    ups = [trained.up * trained.scale, started.up * -started.scale]
    rank = trained.rank + started.rank
    return Factors(torch.cat([trained.down, started.down]), torch.cat(ups, dim=1), alpha=float(rank))
