"""Nested values as plain ones for JSON and tensors apart, such as what an optimiser knows."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["joined", "split"]

_TENSOR, _MAPPING, _LIST, _TUPLE = "tensor", "mapping", "list", "tuple"


def split(value: object, place: str, tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401 - plain values
    """``value`` for JSON; its tensors go into ``tensors`` by names that begin with ``place``.

    >>> found = {}
    >>> split({"rate": 0.5, "mean": Tensor([1])}, "adam", found)
    {'mapping': [['rate', 0.5], ['mean', {'tensor': 'adam::mean'}]]}
    >>> found
    {'adam::mean': tensor([1.])}

    Raises:
        TypeError: something is neither a tensor nor plain.
    """
    if isinstance(value, Tensor):
        tensors[place] = value.contiguous()  # some optimisers keep views
        return {_TENSOR: place}
    if isinstance(value, Mapping):
        return {_MAPPING: [[key, split(one, f"{place}::{key}", tensors)] for key, one in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = _TUPLE if isinstance(value, tuple) else _LIST
        return {kind: [split(one, f"{place}::{number}", tensors) for number, one in enumerate(value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    message = f"{place} is of the type {type(value).__name__}, which is neither plain nor a tensor"
    raise TypeError(message)


def joined(stored: Any, read: Callable[[str], Tensor]) -> Any:  # noqa: ANN401 - plain values
    """The value that :func:`split` took apart.

    Args:
        stored: what it gave.
        read: the tensor of a name.

    Raises:
        ValueError: it is nothing that :func:`split` gives.
    """
    if not isinstance(stored, dict):
        return stored
    ((kind, content),) = stored.items()
    if kind == _TENSOR:
        return read(content)
    if kind == _MAPPING:
        return {key: joined(one, read) for key, one in content}
    if kind in {_LIST, _TUPLE}:
        found = [joined(one, read) for one in content]
        return tuple(found) if kind == _TUPLE else found
    message = f"{kind!r} is no kind of stored value"
    raise ValueError(message)
