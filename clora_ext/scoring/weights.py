"""Where a scorer's weights lie: a folder of transformers, a file, a name on the hub. safetensors alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging import CRITICAL
from pathlib import Path
from typing import Any

from clora_ext.errors import CheckpointError
from clora_ext.families.hub import hub_snapshot
from clora_ext.formats.strict_json import read_json
from clora_ext.formats.text import listed

__all__ = ["CONFIG", "WEIGHTS", "find_folder", "quiet_loading", "read_config", "refuse_pickle", "weights_in"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl")
_LARGEST_CONFIG = 1 << 20  # bytes
_CONVERTING = "docs/forgetting.md#weights tells how to convert a pickle, where you trust it"
_FOLDER = "name a folder of transformers' weights"


def find_folder(where: str) -> Path:
    """A folder on this machine; else the hub's, of which configuration and safetensors are fetched.

    Raises:
        CheckpointError: there is none.
    """
    folder = Path(where)
    if folder.is_dir():
        return folder
    if folder.exists():
        refuse_pickle(folder)
        raise CheckpointError(f"{folder} is a file", fix=f"name the folder that holds {CONFIG} and {WEIGHTS}")
    if folder.is_absolute() or where.startswith(("./", "../", "~")) or where.count("/") != 1:
        raise CheckpointError(f"there is no folder {folder}", fix=_FOLDER)
    return hub_snapshot(where, [CONFIG, WEIGHTS])


def weights_in(folder: Path) -> Path:
    """The file with the weights.

    Raises:
        CheckpointError: there is none; a pickle is named and never read.
    """
    file = folder / WEIGHTS
    if file.is_file():
        return file
    pickles = sorted(one for one in folder.iterdir() if one.suffix.lower() in _PICKLES)
    if pickles:
        refuse_pickle(pickles[0])
    names = listed(sorted(one.name for one in folder.iterdir()))
    message = f"{folder} has no {WEIGHTS}; it holds {names or 'nothing'}"
    fix = f"name a folder of transformers' weights; {_CONVERTING}" if (folder / CONFIG).exists() else _FOLDER
    raise CheckpointError(message, fix=fix)


def refuse_pickle(file: Path) -> None:
    """A pickle can run any code when it is read.

    Raises:
        CheckpointError: the file's name says that it is one.
    """
    if file.suffix.lower() in _PICKLES:
        message = f"{file} is a pickle, which can run any code when it is read; clora reads safetensors alone"
        raise CheckpointError(message, fix=_CONVERTING)


def read_config(folder: Path, kind: str, wanted: Sequence[str]) -> dict[str, Any]:
    """transformers' configuration of the folder.

    Args:
        folder: that holds it.
        kind: of scorer that was asked for.
        wanted: the ``model_type`` that such a scorer may have.

    Raises:
        CheckpointError: it is missing, damaged, or of another kind of model.
    """
    file = folder / CONFIG
    try:
        with file.open("rb") as opened:
            found = read_json(opened.read(_LARGEST_CONFIG).decode("utf-8"))
    except FileNotFoundError as error:
        message = f"{folder} has no {CONFIG}"
        raise CheckpointError(message, fix=_FOLDER) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}", fix="download it again") from error
    model_type = found.get("model_type") if isinstance(found, dict) else None
    if model_type not in wanted:
        message = f"{folder} holds a model of type {model_type!r:.80}, not {' or '.join(wanted)}"
        raise CheckpointError(message, fix=f"name a folder of {kind}, or the kind that it is")
    return dict(found)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """While it is entered, transformers neither draws a bar nor logs; what is wrong is looked at here."""
    from transformers.utils import logging

    verbosity, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()
