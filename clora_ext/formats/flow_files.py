"""A transformer of flow matching that lies alone in a file, by whichever names, seen in ComfyUI's layout.

Needs no torch.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .diffusers_folder import component_pieces
from .flow_keys import FLOW_PREFIX, z_image_table
from .header import Header
from .keys import KeyTable
from .pieces import Pieces, file_pieces

__all__ = ["flow_pieces"]

_ALONE = ("", "model.", "net.")
"""What programs put before the names of a transformer that lies alone in its file."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a kind of transformer is known by its names.

    Attributes:
        original: names that its own layout has.
        diffusers: names that diffusers' has, and only that.
        table: the key table of one with such names.
    """

    original: tuple[str, ...]
    diffusers: tuple[str, ...]
    table: Callable[[Iterable[str]], KeyTable]


def _z_image(names: Iterable[str]) -> KeyTable:
    """As deep as the names say."""
    found = list(names)
    return z_image_table(
        {"n_layers": _count(found, "layers"), "n_refiner_layers": _count(found, "noise_refiner")}
    )


def _count(names: Iterable[str], stack: str) -> int:
    """How many blocks of a stack the names are of, counted from 0."""
    block = re.compile(rf"{stack}\.(\d{{1,3}})\.")
    return max((int(found[1]) + 1 for name in names if (found := block.match(name))), default=0)


_LAYOUTS = (
    _Layout(
        ("cap_embedder.1.weight", "x_embedder.weight"),
        ("cap_embedder.1.weight", "all_x_embedder.2-1.weight"),
        _z_image,
    ),
)


def flow_pieces(path: Path, header: Header) -> Pieces | None:
    """Where the transformer's tensors lie; None: it is none, or one under the names of ComfyUI's layout.

    Raises:
        CheckpointError: it is quantised, or not complete.
    """
    for layout in _LAYOUTS:
        if _has(header, "", layout.diffusers):
            pieces = component_pieces([path], layout.table(header.tensors))
            return Pieces(dict(pieces), header.metadata)
        for prefix in _ALONE:
            if _has(header, prefix, layout.original):
                return _prefixed(path, header, prefix)
    return None


def _has(header: Header, prefix: str, names: tuple[str, ...]) -> bool:
    return all(prefix + name in header.tensors for name in names)


def _prefixed(path: Path, header: Header, prefix: str) -> Pieces:
    """The same tensors where a file of everything has them."""
    found: Mapping[str, str] = {name: FLOW_PREFIX + name.removeprefix(prefix) for name in header.tensors}
    pieces = {found[name]: piece for name, piece in file_pieces(path, header).items()}
    return Pieces(pieces, header.metadata)
