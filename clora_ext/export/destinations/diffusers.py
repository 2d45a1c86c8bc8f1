"""A folder as diffusers' from_pretrained reads it."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

from clora_ext import families
from clora_ext.errors import UsageError, writing
from clora_ext.export.atomic import FileSet, PlannedFile
from clora_ext.export.bundle import ExportBundle
from clora_ext.families.components import Role
from clora_ext.formats.folder_files import INDICES, index_in
from clora_ext.formats.header import BITS

__all__ = ["DESTINATION", "Diffusers"]

# What a folder holds beside the components.
_BESIDE = (*INDICES, "scheduler", "tokenizer", "tokenizer_2", "t5_tokenizer")
_CONFIGURATIONS = 8_000_000  # bytes, generously: JSON files and the tokenizers' vocabularies


class Diffusers:
    """The folder itself; below it, if a name is given."""

    title = "diffusers"
    takes_everything = True

    def place(self, folder: Path, model: ExportBundle) -> FileSet:
        """One folder with a folder for each component."""
        target = folder / model.name if model.is_named else folder
        if target.exists():
            _refuse_foreign(target)
        dtypes = _dtypes(model)

        def write(path: Path) -> None:
            import torch

            from clora_ext.config.precision import Precision

            kinds = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
            wanted = {role: kinds[dtype] for role, dtype in dtypes.items()}
            taught = {dtype for role, dtype in wanted.items() if role != "vae"}
            held = taught.pop() if len(taught) == 1 else torch.float32
            precision = Precision(torch.device("cpu"), held, "nothing is computed")
            loaded = model.family.load(model.evolving.current, precision, model.weights())
            with writing(target):
                loaded.save(path, wanted)

        return FileSet((PlannedFile(target, _bytes(model, dtypes) + _CONFIGURATIONS, write, is_folder=True),))

    def remark(self, model: ExportBundle) -> str:
        """Nothing: the folder says what it is made of."""
        return ""

    def next_step(self, model: ExportBundle) -> str:
        """How it is read."""
        return "in Python: diffusers.DiffusionPipeline.from_pretrained(<the folder>)"


def _bytes(model: ExportBundle, dtypes: Mapping[Role, str]) -> int:
    """Size of the components' files."""
    total = 0
    for name, source in model.sources.items():
        role = model.roles[name]
        if role is not None and role in dtypes:
            total += prod(source.shape) * BITS[dtypes[role]] // 8
    return total


def _dtypes(model: ExportBundle) -> Mapping[Role, str]:
    """One dtype for the components of each role: their tensors' own, or float32 where they differ."""
    found: dict[Role, set[str]] = {}
    for name, source in model.sources.items():
        role = model.roles[name]
        if role is not None and source.dtype in {"F16", "BF16", "F32"}:
            found.setdefault(role, set()).add(source.dtype)
    return {role: kinds.pop() if len(kinds) == 1 else "F32" for role, kinds in found.items()}


def _own_names() -> set[str]:
    """What clora itself writes into such a folder, whatever the family."""
    components = (family.components for family in map(families.load, families.names()))
    return {*_BESIDE, *(name for found in components for name in found)}


def _refuse_foreign(target: Path) -> None:
    """A folder that is replaced must be one of this kind, with nothing else in it."""
    if not target.is_dir():
        raise UsageError(f"{target} is a file", fix="name a new folder")
    names = sorted(path.name for path in target.iterdir())
    own = _own_names()
    foreign = [name for name in names if name not in own]
    if foreign or (names and index_in(target) is None):
        what = foreign[0] if foreign else names[0]
        raise UsageError(f"{target} holds other things ({what})", fix="name a new or empty folder")


DESTINATION = Diffusers()
