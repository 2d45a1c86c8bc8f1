"""Finding the model that a project starts from: a path, or a name on the Hugging Face hub."""

import re
from collections.abc import Sequence
from pathlib import Path

from clora_ext.errors import CheckpointError
from clora_ext.formats.flow_folder import FLOW_COMPONENTS, is_flow_folder
from clora_ext.formats.folder_files import COMPONENTS, INDEX, INDICES, FolderFiles, index_in, weights_names
from clora_ext.formats.installed import find_installed

__all__ = ["DEMO_MODEL", "find_base", "hub_snapshot", "place_of"]

DEMO_MODEL = Path(__file__).parents[1] / "assets" / "demo_model.safetensors"
"""The built-in model: the base of a project that names none."""

# Names of models have dots (stable-diffusion-xl-base-1.0); a variant of the weights may follow.
_HUB_NAME = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?::(fp16))?")
# A path that ends so is meant as a file, which is then missing.
_FILE_ENDINGS = frozenset(
    {".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".pkl", ".gguf", ".onnx", ".zip", ".json"}
)
_CONFIGURATIONS = (
    *INDICES,
    "scheduler/scheduler_config.json",
    *(f"{component}/config.json" for component in COMPONENTS),
    *(f"{component}/*.safetensors.index.json" for component in COMPONENTS),  # says that weights are sharded
)


_FLOW_FILES = tuple(
    f"{component}/{ending}"
    for component in FLOW_COMPONENTS
    for ending in ("config.json", "*.safetensors.index.json", "*.safetensors")
)


def find_base(base: Path) -> Path:
    """A file or folder on this machine, also by its name in an installed program (``comfyui:NAME``).

    The network is asked only where ``base`` is no path that exists and reads like ``owner/name``, or
    ``owner/name:fp16`` for the weights in half precision.

    Raises:
        CheckpointError: it does not exist, or the hub does not give it.
        UsageError: the named program does not have it.
    """
    base = find_installed(base, "checkpoint")
    if base.exists():
        if base.is_dir() and index_in(base) is None:
            message = f"{base} is a folder without {INDEX}"
            raise CheckpointError(message, fix="name a .safetensors file or a whole diffusers folder")
        return base
    name = _HUB_NAME.fullmatch(base.as_posix())
    if name is None or base.suffix.lower() in _FILE_ENDINGS:
        raise CheckpointError(f"{base} does not exist", fix="check the path")
    return _fetched(name[1], name[2] or "")


def place_of(base: Path) -> Path:
    """A path that leads to ``base`` from everywhere.

    The file's own name stays as it is: of a link into the hub's cache it says more than its target's.
    """
    return base.parent.resolve() / base.name if base.name not in {"", ".."} else base.resolve()


def _fetched(name: str, variant: str) -> Path:
    """The hub's model, a diffusers folder in huggingface_hub's own cache.

    Only what clora reads is fetched. Of each component that is one file: the asked variant, and the other one
    only where that is missing.
    """
    wanted = [f"{component}/{weights_names(component, variant)[0]}" for component in COMPONENTS]
    folder = hub_snapshot(name, [*_CONFIGURATIONS, *wanted])
    if index_in(folder) is None:
        message = f"{name} on the Hugging Face hub has no {INDEX}"
        raise CheckpointError(message, fix="download its .safetensors file and name that")
    if is_flow_folder(FolderFiles(folder)):
        return hub_snapshot(name, [*_CONFIGURATIONS, *_FLOW_FILES])
    lacking = [component for component in COMPONENTS if _lacks_weights(folder, component)]
    if lacking:
        others = [f"{one}/{file}" for one in lacking for file in weights_names(one, variant)[1:]]
        folder = hub_snapshot(name, [*_CONFIGURATIONS, *wanted, *others])
    return FolderFiles(folder, variant).place


def _lacks_weights(folder: Path, component: str) -> bool:
    """Whether a component that is there has no weights yet."""
    return (folder / component / "config.json").is_file() and not any(
        (folder / component / file).is_file() for file in weights_names(component, "")
    )


def hub_snapshot(name: str, wanted: Sequence[str]) -> Path:
    """The folder in which these files of the hub's model lie, as far as it has them."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(wanted)))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"{name} is not a path here, and the Hugging Face hub does not give it: {reason}"
        raise CheckpointError(message, fix="check the name and the connection, or name a file") from error
