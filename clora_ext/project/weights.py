"""What weight every concept has in a project's model: 1 as it was taught, 0 if it was removed."""

from collections.abc import Mapping, Sequence

from .records import ConceptRecord, Reweighting

__all__ = ["held", "weights_of"]


def weights_of(records: Sequence[ConceptRecord], then: Reweighting | None = None) -> Mapping[int, float]:
    """The weights of the concepts by their numbers.

    Args:
        records: of a project, the first first.
        then: what happens after them; None: nothing.
    """
    found: dict[int, float] = {}
    for record in records:
        if record.reweighting is None:
            found[record.number] = 1.0
        else:
            found[record.reweighting.number] = record.reweighting.weight
    return found if then is None else {**found, then.number: then.weight}


def held(records: Sequence[ConceptRecord], then: Reweighting | None = None) -> tuple[ConceptRecord, ...]:
    """The concepts that are in the model: neither those that were removed nor re-weightings."""
    weights = weights_of(records, then)
    return tuple(record for record in records if weights.get(record.number))
