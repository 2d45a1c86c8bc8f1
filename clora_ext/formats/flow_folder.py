"""A diffusers folder of a model of flow matching seen as pieces of a file of everything. Needs no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clora_ext.errors import CheckpointError

from .diffusers_folder import component_pieces, read_table
from .flow_layouts import FLOW_LAYOUTS, FlowNames
from .folder_files import SAVE_AGAIN, FolderFiles, index_in
from .language_model import language_model_pieces
from .pieces import Pieces
from .statements import Statement

__all__ = ["FLOW_COMPONENTS", "flow_files_of", "flow_folder_pieces", "is_flow_folder"]

_ALWAYS = ("text_encoder", "transformer", "vae")

FLOW_COMPONENTS = ("text_conditioner", *_ALWAYS)
"""Its folders that are read, as far as a model of its kind has them."""

_MOST = 1000  # blocks; far beyond any
_WIDEST = 1 << 16


def is_flow_folder(files: FolderFiles) -> bool:
    """Whether it says so; one that says nothing that can be read is none."""
    return _layout(files) is not None


def _layout(files: FolderFiles) -> FlowNames | None:
    """How its kind of model lies in files."""
    index = index_in(files.path)
    try:
        kind = None if index is None else read_table(index).get("_class_name")
    except CheckpointError:
        return None
    return next((one for one in FLOW_LAYOUTS if one.pipeline == kind), None)


def flow_folder_pieces(files: FolderFiles) -> Pieces:
    """The folder's model, whose weights may lie in several files.

    Raises:
        CheckpointError: it is not complete.
    """
    layout = _known_layout(files)
    transformer = layout.table(_counts(files.path, "transformer", *layout.stacks))
    vae = layout.vae_table(_widths(files.path, *layout.vae_counts))
    prefix = layout.text_prefix(_text_width(files.path))
    text = language_model_pieces(
        files.path / "text_encoder", prefix, files.shards("text_encoder"), sees=layout.sees
    )
    tables = {"transformer": transformer, "vae": vae}
    tables |= {name: table() for name, table in layout.beside.items()}
    return Pieces(
        {
            **text,
            **{
                tensor: piece
                for name, table in tables.items()
                for tensor, piece in component_pieces(files.shards(name), table)
            },
        },
        statements=_index_statements(files),
    )


def _index_statements(files: FolderFiles) -> tuple[Statement, ...]:
    """What the folder's index says: true of distilled models; its absence says nothing."""
    index = index_in(files.path)
    if index is None or read_table(index).get("is_distilled") is not True:
        return ()
    return (Statement(index.name, is_distilled=True),)


def _known_layout(files: FolderFiles) -> FlowNames:
    """How its kind of model lies in files.

    Raises:
        CheckpointError: it is of no kind that is known.
    """
    layout = _layout(files)
    if layout is None:
        raise CheckpointError(f"{files.path} holds no transformer", fix=SAVE_AGAIN)
    return layout


def flow_files_of(files: FolderFiles) -> tuple[Path, ...]:
    """Every file that the model is read from, in a fixed order.

    Raises:
        CheckpointError: one is missing.
    """
    own = {*_ALWAYS, *_known_layout(files).beside}
    components = [name for name in FLOW_COMPONENTS if name in own]
    configs = (files.path / name / "config.json" for name in components)
    weights = (file for name in components for file in files.shards(name))
    return (*weights, *(config for config in configs if config.is_file()))


def _counts(folder: Path, component: str, *names: str) -> Mapping[str, Any]:
    """Whole numbers of a component's configuration.

    Raises:
        CheckpointError: they could not belong to such a model.
    """
    file = folder / component / "config.json"
    config = read_table(file)
    return {name: _count(config, name, file, _MOST) for name in names}


def _text_width(folder: Path) -> int:
    """Of the language model, which may be one half of what the folder holds.

    Raises:
        CheckpointError: it could belong to none.
    """
    file = folder / "text_encoder" / "config.json"
    config = read_table(file)
    half = config.get("text_config")
    return _count(half if isinstance(half, Mapping) else config, "hidden_size", file, _WIDEST)


def _count(config: Mapping[str, Any], name: str, file: Path, most: int) -> int:
    value = config.get(name)
    if not isinstance(value, int) or not 0 < value <= most:
        raise CheckpointError(f"{file}: {name} is {value!r:.40}", fix=SAVE_AGAIN)
    return value


def _widths(folder: Path, levels: str, depth: str) -> Mapping[str, Any]:
    """As much of the VAE's configuration as its key table needs; see :attr:`FlowNames.vae_counts`."""
    config = read_table(folder / "vae" / "config.json")
    blocks = config.get(levels)
    if not isinstance(blocks, list) or not 0 < len(blocks) <= 16:  # noqa: PLR2004
        raise CheckpointError(f"{folder / 'vae' / 'config.json'} describes no VAE", fix=SAVE_AGAIN)
    return {levels: blocks, **_counts(folder, "vae", depth)}
