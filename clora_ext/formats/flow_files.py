"""A transformer of flow matching that lies alone in a file, by whichever names, seen in ComfyUI's layout.

Needs no torch.
"""

from pathlib import Path

from .diffusers_folder import component_pieces
from .flow_keys import FLOW_PREFIX
from .flow_layouts import FLOW_LAYOUTS, FlowNames
from .header import Header
from .pieces import Pieces, file_pieces

__all__ = ["flow_pieces"]

_ALONE = ("", "model.", "net.")
"""What programs put before the names of a transformer that lies alone in its file."""


def flow_pieces(path: Path, header: Header) -> Pieces | None:
    """Where the transformer's tensors lie; None: it is none, or one under the names of ComfyUI's layout.

    Raises:
        CheckpointError: it is quantised, or not complete.
    """
    for layout in FLOW_LAYOUTS:
        if _has(header, "", layout.diffusers):
            pieces = component_pieces([path], layout.table_of(header.tensors))
            return Pieces(dict(pieces), header.metadata)
        for prefix in (*_ALONE, FLOW_PREFIX):
            if _has(header, prefix, layout.original):
                return _usual(path, header, prefix, layout)
    return None


def _has(header: Header, prefix: str, names: tuple[str, ...]) -> bool:
    return all(prefix + name in header.tensors for name in names)


def _usual(path: Path, header: Header, prefix: str, layout: FlowNames) -> Pieces | None:
    """The same tensors where a file of everything has them, by their usual names; None: there they are."""
    moved = FLOW_PREFIX if prefix in _ALONE else ""
    removed = prefix if moved else ""
    found = {name: layout.usual(moved + name.removeprefix(removed)) for name in header.tensors}
    if all(name == usual for name, usual in found.items()):
        return None
    pieces = {found[name]: piece for name, piece in file_pieces(path, header).items()}
    return Pieces(pieces, header.metadata)
