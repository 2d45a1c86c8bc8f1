"""Finding the model that a project starts from: a path, or a name on the Hugging Face hub."""

import re
from pathlib import Path

from clora_ext.errors import CheckpointError
from clora_ext.formats.diffusers_folder import INDEX

__all__ = ["DEMO_MODEL", "find_base"]

DEMO_MODEL = Path(__file__).parents[1] / "assets" / "demo_model.safetensors"
"""The built-in model: the base of a project that names none."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
# Weights as safetensors only, and what describes them: never a pickle.
_WANTED = (
    INDEX,
    "*/config.json",
    "scheduler/scheduler_config.json",
    "*/model.safetensors",
    "*/diffusion_pytorch_model.safetensors",
)


def find_base(base: Path) -> Path:
    """A file or folder on this machine.

    The network is asked only where ``base`` is no path that exists and reads like ``owner/name``.

    Raises:
        CheckpointError: it does not exist, or the hub does not give it.
    """
    if base.exists():
        if base.is_dir() and not (base / INDEX).is_file():
            message = f"{base} is a folder without {INDEX}"
            raise CheckpointError(message, fix="name a .safetensors file or a whole diffusers folder")
        return base
    name = base.as_posix()
    if not _HUB_NAME.fullmatch(name) or base.suffix:
        raise CheckpointError(f"{base} does not exist", fix="check the path")
    return _fetched(name)


def _fetched(name: str) -> Path:
    """The hub's model as a diffusers folder in huggingface_hub's own cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"{name} is not a path here, and the Hugging Face hub does not give it: {reason}"
        raise CheckpointError(message, fix="check the name and the connection, or name a file") from error
    if not (folder / INDEX).is_file():
        message = f"{name} on the Hugging Face hub has no {INDEX}"
        raise CheckpointError(message, fix="download its .safetensors file and name that")
    return folder
