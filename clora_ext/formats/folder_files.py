"""The files of a diffusers folder: which of them clora reads. Needs no torch."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from clora_ext.errors import CheckpointError

__all__ = [
    "COMPONENTS",
    "INDEX",
    "INDICES",
    "SAVE_AGAIN",
    "FolderFiles",
    "folder_at",
    "index_in",
    "weights_names",
]

INDEX = "model_index.json"
"""The file that makes a folder a diffusers folder."""

INDICES = (INDEX, "modular_model_index.json")
"""The same, and what diffusers writes for a pipeline that is put together from blocks."""

COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2")
"""Its folders that are read; what else lies in it (safety checkers, other VAEs, ONNX) is of no use."""

SAVE_AGAIN = "save the pipeline again with save_pretrained(safe_serialization=True)"
"""What to do with a folder that holds its weights in another way."""

_DENOISER = "unet"
_STEMS = dict.fromkeys((_DENOISER, "transformer", "text_conditioner", "vae"), "diffusion_pytorch_model")
_VARIANTS = ("", "fp16")
_LARGEST = 1 << 24  # bytes of an index; real ones have some hundred thousand
_SHARD = re.compile(r"[\w.-]{1,128}\.safetensors")


def index_in(folder: Path) -> Path | None:
    """The file that makes it a diffusers folder; None: it is none."""
    return next((folder / name for name in INDICES if (folder / name).is_file()), None)


def weights_names(component: str, variant: str) -> tuple[str, ...]:
    """Names of the one file with a component's weights, the wanted variant (``fp16`` or empty) first.

    >>> weights_names("vae", "")
    ('diffusion_pytorch_model.safetensors', 'diffusion_pytorch_model.fp16.safetensors')
    """
    stem = _STEMS.get(component, "model")
    ordered = sorted(_VARIANTS, key=lambda one: one != variant)
    return tuple(f"{stem}.{one}.safetensors" if one else f"{stem}.safetensors" for one in ordered)


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """A diffusers folder, and which variant of its weights is meant.

    Attributes:
        path: of the folder.
        variant: ``fp16``, or empty. Where a component lacks the one, the other is read.
    """

    path: Path
    variant: str = ""

    @property
    def place(self) -> Path:
        """A path that stands for just this: the folder, or the UNet's weights in the variant that is read."""
        file = self.weights(_DENOISER)
        return self.path if file.name == weights_names(_DENOISER, "")[0] else file

    def shards(self, component: str) -> tuple[Path, ...]:
        """The safetensors files with a component's weights: one, or all that its index names.

        Raises:
            CheckpointError: there is none, or the index leads elsewhere.
        """
        where, stem = self.path / component, _STEMS.get(component, "model")
        index = where / f"{stem}.safetensors.index.json"
        if not index.is_file():
            return (self.weights(component),)
        names = _indexed(index)
        if not names or not all(_SHARD.fullmatch(name) and (where / name).is_file() for name in names):
            message = f"{index} names files that are not there"
            raise CheckpointError(message, fix="use a complete copy of the model")
        return tuple(where / name for name in names)

    def weights(self, component: str) -> Path:
        """A component's one safetensors file.

        Raises:
            CheckpointError: there is none; says what there is instead.
        """
        where = self.path / component
        names = weights_names(component, self.variant)
        for name in names:
            if (where / name).is_file():
                return where / name
        stem = _STEMS.get(component, "model")
        if any(where.glob(f"{stem}*.index.json")) or any(where.glob(f"{stem}*-of-*.safetensors")):
            message = f"{where} is sharded: its weights lie in several files"
            raise CheckpointError(message, fix="save it again with save_pretrained(max_shard_size='100GB')")
        if any(where.glob("*.bin")):
            message = f"{where} holds pickles (.bin); opening one can run any program hidden in it"
            raise CheckpointError(message, fix=SAVE_AGAIN)
        message = f"{where} holds no {stem}.safetensors"
        raise CheckpointError(message, fix="name a complete diffusers folder with safetensors weights")


def _indexed(index: Path) -> list[str]:
    """The names of the files in which an index says that weights lie, sorted.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        content = json.loads(index.read_text(encoding="utf-8")) if index.stat().st_size < _LARGEST else {}
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{index} cannot be read: {error}", fix=SAVE_AGAIN) from error
    weights = content.get("weight_map") if isinstance(content, dict) else None
    return sorted(set(map(str, weights.values()))) if isinstance(weights, dict) else []


def folder_at(path: Path) -> FolderFiles | None:
    """The diffusers folder that ``path`` stands for; None: it is a file of its own.

    The weights of a folder's UNet stand for the folder in their variant.
    """
    if path.is_dir():
        return FolderFiles(path)
    folder = path.parent.parent
    if path.parent.name != _DENOISER or not (folder / INDEX).is_file():
        return None
    return next(
        (FolderFiles(folder, one) for one in _VARIANTS if weights_names(_DENOISER, one)[0] == path.name), None
    )
