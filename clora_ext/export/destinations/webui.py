"""What Automatic1111 and Forge have in common: where checkpoints lie, and the files beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clora_ext.export.atomic import FileSet, file_of
from clora_ext.export.bundle import ExportBundle
from clora_ext.formats.installed import CHECKPOINTS

__all__ = ["LOOKED_FOR", "sidecars"]

_CHECKPOINTS = CHECKPOINTS["a1111"]

LOOKED_FOR = f"webui.py and {_CHECKPOINTS.as_posix()}/"
"""What makes a folder one of either."""


def sidecars(
    folder: Path, model: ExportBundle, card: Mapping[str, str], config: Mapping[str, Any] | None
) -> FileSet:
    """The checkpoint with what its card in the web interface shows.

    Args:
        folder: of the web interface.
        model: what to write.
        card: the content of the .json file.
        config: the content of the .yaml file, from which the program learns what it cannot see; None: it
            needs none, and one that is there would mislead it.
    """
    target = folder / _CHECKPOINTS
    # JSON is YAML, too.
    contents = {
        "preview.png": model.preview,
        "json": _json(card),
        "txt": model.card.description.encode(),
        "yaml": None if config is None else _json(config),
    }
    paths = {ending: target / f"{model.name}.{ending}" for ending in contents}
    small = tuple(file_of(paths[ending], content) for ending, content in contents.items() if content)
    remove = tuple(paths[ending] for ending, content in contents.items() if not content)
    return FileSet((*small, model.checkpoint(target / f"{model.name}.safetensors")), remove)


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=4, ensure_ascii=False) + "\n").encode()
