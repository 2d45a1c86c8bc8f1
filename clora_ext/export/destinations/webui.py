"""What Automatic1111 and Forge have in common: where checkpoints lie, and the files beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clora_ext.export.atomic import FileSet, file_of
from clora_ext.export.bundle import ExportBundle

__all__ = ["CHECKPOINTS", "LOOKED_FOR", "is_webui", "sidecars"]

CHECKPOINTS = Path("models", "Stable-diffusion")
"""Where both look for checkpoints."""

LOOKED_FOR = f"webui.py and {CHECKPOINTS.as_posix()}/"
"""What makes a folder one of either."""


def is_webui(folder: Path) -> bool:
    """Whether it is a folder of Automatic1111, Forge or a relative of theirs."""
    return (folder / "webui.py").is_file() and (folder / CHECKPOINTS).is_dir()


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
    target = folder / CHECKPOINTS
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
