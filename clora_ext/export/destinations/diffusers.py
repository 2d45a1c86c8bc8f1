"""A folder as diffusers' from_pretrained reads it."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

from clora_ext.errors import UsageError
from clora_ext.export.atomic import FileSet, PlannedFile
from clora_ext.export.bundle import ExportBundle
from clora_ext.formats.header import BITS

__all__ = ["DESTINATION", "Diffusers"]

_COMPONENTS = {"model.diffusion_model.": "unet", "first_stage_model.": "vae"}
_TEXT = "text_encoder"
_OURS = frozenset(
    "model_index.json unet vae scheduler tokenizer tokenizer_2 text_encoder text_encoder_2".split()
)
_CONFIGURATIONS = 8_000_000  # bytes, generously: JSON files and the tokenizers' vocabularies


class Diffusers:
    """The folder itself; below it, if a name is given."""

    title = "diffusers"

    def place(self, folder: Path, model: ExportBundle) -> FileSet:
        """One folder with a folder for each component."""
        target = folder / model.name if model.is_named else folder
        if target.exists():
            _refuse_foreign(target)
        dtypes = _dtypes(model)
        size = sum(
            prod(source.shape) * BITS[dtypes[_component(name)]] // 8 for name, source in model.sources.items()
        )

        def write(path: Path) -> None:
            import torch

            from clora_ext.config.precision import Precision

            kinds = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
            wanted = {component: kinds[dtype] for component, dtype in dtypes.items()}
            taught = {dtype for component, dtype in wanted.items() if component != "vae"}
            held = taught.pop() if len(taught) == 1 else torch.float32
            precision = Precision(torch.device("cpu"), held, "no", "nothing is computed")
            loaded = model.family.load(model.evolving.current, precision, model.weights())
            loaded.save(path, wanted)

        return FileSet((PlannedFile(target, size + _CONFIGURATIONS, write, is_folder=True),))

    def remark(self, model: ExportBundle) -> str:
        """Nothing: the folder says what it is made of."""
        return ""

    def next_step(self, model: ExportBundle) -> str:
        """How it is read."""
        return "in Python: diffusers.DiffusionPipeline.from_pretrained(<the folder>)"


def _component(name: str) -> str:
    """Of a checkpoint's tensor."""
    return next((part for start, part in _COMPONENTS.items() if name.startswith(start)), _TEXT)


def _dtypes(model: ExportBundle) -> Mapping[str, str]:
    """One dtype for each component: its tensors' own, or float32 where they differ."""
    found: dict[str, set[str]] = {}
    for name, source in model.sources.items():
        if source.dtype in {"F16", "BF16", "F32"}:
            found.setdefault(_component(name), set()).add(source.dtype)
    return {part: kinds.pop() if len(kinds) == 1 else "F32" for part, kinds in found.items()}


def _refuse_foreign(target: Path) -> None:
    """A folder that is replaced must be one of this kind, with nothing else in it."""
    if not target.is_dir():
        raise UsageError(f"{target} is a file", fix="name a new folder")
    names = sorted(path.name for path in target.iterdir())
    foreign = [name for name in names if name not in _OURS]
    if foreign or (names and "model_index.json" not in names):
        what = foreign[0] if foreign else names[0]
        raise UsageError(f"{target} holds other things ({what})", fix="name a new or empty folder")


DESTINATION = Diffusers()
