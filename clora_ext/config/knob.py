"""The note on a field that makes it a knob."""

from dataclasses import dataclass

__all__ = ["Knob"]


@dataclass(frozen=True, slots=True)
class Knob:
    """What people are told about a value that they may set.

    Attributes:
        help: one sentence or two.
        default_text: what stands for the default where no value does; empty: the value itself.
        suits_model: whether a model's family may suggest another default.
        step: by how much a person would change the number; None: by 1.
    """

    help: str
    default_text: str = ""
    suits_model: bool = False
    step: float | None = None
