"""A language model in a file of its own, in several, or in one of everything. Needs no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clora_ext.errors import CheckpointError

from .header import Header, read_header
from .pieces import Piece, file_pieces
from .quantised import quantised

__all__ = ["files_in", "language_model_pieces"]

_ALONE = ("model.", "", "model.language_model.", "language_model.")
"""What stands before the names of a language model's layers: transformers' own class, or its inner one; the
latter two where it is one half of a model that sees pictures, too."""

_MARK = "embed_tokens.weight"
_SIGHT = "visual."
_SIGHTS = (_SIGHT, f"model.{_SIGHT}")
_NAME_ONE = "name a text encoder, such as qwen_3_4b.safetensors"
_NAME_SEEING = "name the whole model with both halves, such as qwen3vl_4b.safetensors"


def language_model_pieces(
    file: Path, prefix: str, shards: Sequence[Path] | None = None, *, sees: bool | None = False
) -> Mapping[str, Piece]:
    """The tensors of a language model, by their names in a file of everything.

    What it sees with is among them, though nothing here reads it: programs that do find it there.

    Args:
        file: of the model alone, of everything, or a folder with all of its files.
        prefix: where its tensors stand in a file of everything.
        shards: which files of a folder; None: all.
        sees: whether it must see pictures, too, by which alone it is told from a model of the same shapes;
            None: it may.

    Raises:
        CheckpointError: it is none, one that sees pictures or does not, or a quantised one.
    """
    headers = {one: read_header(one) for one in (files_in(file) if shards is None else shards)}
    names = {name for header in headers.values() for name in header.tensors}
    found = next((one for one in (f"{prefix}model.", *_ALONE) if one + _MARK in names), None)
    if found is None:
        raise CheckpointError(f"{file} holds no language model", fix=_NAME_ONE)
    sights = (prefix + _SIGHT, *_SIGHTS)
    seeing = any(name.startswith(sights) for name in names)
    if seeing and sees is False:
        raise CheckpointError(f"{file} is a language model that sees pictures, too", fix=_NAME_ONE)
    if sees and not seeing and found != f"{prefix}model.":  # that name tells it, too
        raise CheckpointError(f"{file} is a language model that sees no pictures", fix=_NAME_SEEING)
    pieces: dict[str, Piece] = {}
    for path, header in headers.items():
        _refuse_quantised(path, header, (found, *sights))
        for name, piece in file_pieces(path, header).items():
            half = next((one for one in sights if name.startswith(one)), None)
            if half is not None:
                pieces[prefix + _SIGHT + name.removeprefix(half)] = piece
            elif name.startswith(found):
                pieces[f"{prefix}model.{name.removeprefix(found)}"] = piece
    return pieces


def files_in(file: Path) -> tuple[Path, ...]:
    """The file, or a folder's in a fixed order.

    Raises:
        CheckpointError: the folder holds none.
    """
    if not file.is_dir():
        return (file,)
    found = tuple(sorted(file.glob("*.safetensors")))
    if not found:
        raise CheckpointError(f"{file} holds no .safetensors file", fix="name the file itself")
    return found


def _refuse_quantised(file: Path, header: Header, prefixes: tuple[str, ...]) -> None:
    how = quantised({name: info for name, info in header.tensors.items() if name.startswith(prefixes)})
    if how is not None:
        raise CheckpointError(f"{file} is {how}", fix="use its fp16, bf16 or fp32 version")
