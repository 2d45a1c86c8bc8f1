"""What kinds of adapter a LoRA file holds, from its tensors' names alone. Needs no torch."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from .keys import Role, parse_key
from .refusal import other_kind

__all__ = ["Algorithm", "KindCount", "algorithms_of", "describe", "kind_of_adapter"]

Algorithm = Literal["LoRA", "LoHa", "LoKr", "full"]
"""How a change is made of tensors, by LyCORIS' names."""

_BEGINNINGS: Mapping[str, Algorithm] = {"hada": "LoHa", "lokr": "LoKr"}
_FULL = frozenset({"diff", "w_norm", "diff_b", "b_norm"})
_FACTORS = frozenset({"down", "up", "mid"})
_MAGNITUDES = frozenset({"dora_scale", "lora_magnitude_vector"})


@dataclass(frozen=True, slots=True)
class KindCount:
    """How many of a model's parameters a file changes by one kind of adapter.

    Attributes:
        kind: such as ``LoRA`` or ``LoHa with DoRA``; see :func:`kind_of_adapter`.
        count: how many layers, norms and biases.
        ranks: the smallest and the largest rank of the factors; None: there are none.
    """

    kind: str
    count: int
    ranks: tuple[int, int] | None

    def __str__(self) -> str:
        """In words.

        >>> str(KindCount("LoRA", 12, (4, 8)))
        'LoRA of 12 layers, ranks 4 to 8'
        >>> str(KindCount("full", 3, None))
        'whole changes of 3 weights, norms or biases'
        """
        if self.kind == "full":
            return f"whole changes of {self.count} weights, norms or biases"
        text = f"{self.kind} of {self.count} {'layer' if self.count == 1 else 'layers'}"
        if self.ranks is None:
            return text
        smallest, largest = self.ranks
        return f"{text}, rank {smallest}" if smallest == largest else f"{text}, ranks {smallest} to {largest}"


def algorithms_of(roles: Collection[Role]) -> tuple[Algorithm, ...]:
    """What changes a parameter whose adapter has parts of these roles; more than one is a contradiction."""
    found: dict[Algorithm, None] = {}
    for role in roles:
        if role in _FACTORS:
            found["LoRA"] = None
        elif role in _FULL:
            found["full"] = None
        elif role[:4] in _BEGINNINGS:
            found[_BEGINNINGS[role[:4]]] = None
    return tuple(found)


def kind_of_adapter(roles: Collection[Role]) -> str:
    """The name that people know such an adapter by.

    >>> kind_of_adapter({"down", "up", "alpha"}), kind_of_adapter({"down", "up", "dora_scale"})
    ('LoRA', 'DoRA')
    >>> kind_of_adapter({"lokr_w1", "lokr_w2", "dora_scale"})
    'LoKr with DoRA'
    """
    algorithm = next(iter(algorithms_of(roles)), "LoRA")
    if _MAGNITUDES.isdisjoint(roles):
        return algorithm
    return "DoRA" if algorithm == "LoRA" else f"{algorithm} with DoRA"


def describe(names: Iterable[str]) -> str | None:
    """What a file of these tensors is, in a few words; None if it is no adapter.

    >>> describe(["lora_unet_conv_in.hada_w1_a", "lora_unet_conv_in.alpha", "lora_unet_norm.diff"])
    'LoHa, full'
    >>> describe(["lora_unet_conv_in.oft_blocks"]), describe(["model.weight"])
    ('OFT', None)
    """
    names = list(names)
    other = other_kind(names)
    if other is not None:
        return other[0]
    roles: dict[tuple[str, str], set[Role]] = {}
    for key in filter(None, map(parse_key, names)):
        roles.setdefault((key.stem, key.parameter), set()).add(key.role)
    kinds = {kind_of_adapter(found) for found in roles.values() if algorithms_of(found)}
    return ", ".join(sorted(kinds, key=lambda kind: (kind == "full", kind))) or None
