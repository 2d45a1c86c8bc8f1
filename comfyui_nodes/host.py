"""ComfyUI, as the nodes see it: its folders, its process, its pictures. Its models are in ``models.py``."""

import gc
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy_api.latest import ComfyExtension, io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image

from clora_ext.errors import Cancelled, UsageError
from clora_ext.events import Event, FoldStep, Preview, Sampled, SampleStep, Sink, TrainStep

__all__ = [
    "ComfyExtension",
    "alone",
    "any_folder_allowed",
    "blocked",
    "input_folder",
    "input_folders",
    "io",
    "is_blocked",
    "listed",
    "listed_path",
    "model_names",
    "model_path",
    "output_folder",
    "program_folder",
    "tell",
    "temporary_folder",
    "to_image",
    "to_pictures",
    "ui",
    "watching",
]

_ANY_FOLDER = "CLORA_ANY_FOLDER"
_PREVIEW_SIDE = 1024
_ALONE = "diffusion_models/"  # before the names of transformers that lie alone


def listed(kind: str) -> list[str]:
    """Files of a kind, by ComfyUI's name of its folder, that ComfyUI lists and clora can read."""
    return [name for name in folder_paths.get_filename_list(kind) if name.endswith(".safetensors")]


def listed_path(kind: str, name: str) -> Path:
    """One of them."""
    return Path(folder_paths.get_full_path_or_raise(kind, name))


def model_names() -> list[str]:
    """Models that ComfyUI lists and clora can read: checkpoints, and transformers that lie alone."""
    alone = [f"{_ALONE}{name}" for name in listed(_ALONE.rstrip("/"))]
    return [*listed("checkpoints"), *alone]


def model_path(name: str) -> Path:
    """The file of a listed model."""
    if name.startswith(_ALONE) and name not in listed("checkpoints"):
        return listed_path(_ALONE.rstrip("/"), name.removeprefix(_ALONE))
    return listed_path("checkpoints", name)


def output_folder(*names: str) -> Path:
    """A folder inside ComfyUI's output folder; it may not exist yet."""
    return Path(folder_paths.get_output_directory(), *names)


def temporary_folder(*names: str) -> Path:
    """A folder that ComfyUI empties when it starts."""
    return Path(folder_paths.get_temp_directory(), *names)


def input_folders() -> list[str]:
    """Folders inside ComfyUI's input folder, at any depth; links are not followed.

    ComfyUI asks whenever a page is opened, and the folder may hold thousands of files: none is touched.
    """
    root = Path(folder_paths.get_input_directory())
    found: list[Path] = []
    for folder, below, _ in os.walk(root):
        below[:] = [name for name in below if not Path(folder, name).is_symlink()]
        found += [Path(folder, name).relative_to(root) for name in below]
    return [str(folder) for folder in sorted(found)]


def input_folder(name: str) -> Path:
    """A folder inside ComfyUI's input folder, and nowhere else.

    Raises:
        UsageError: the name leads out of it, or there is no such folder.
    """
    root = Path(folder_paths.get_input_directory()).resolve()
    folder = (root / name).resolve()
    if not name or root not in folder.parents:
        message = f"{name!r} is not a folder inside ComfyUI's input folder {root}"
        raise UsageError(message, fix="put the pictures into a folder there and choose it from the list")
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", fix="choose one from the list")
    return folder


def any_folder_allowed() -> bool:
    """Whether whoever started ComfyUI lets its graphs read and write folders anywhere."""
    return os.environ.get(_ANY_FOLDER) == "1"


def program_folder() -> Path:
    """The folder with ComfyUI's ``models``."""
    return Path(folder_paths.base_path)


@contextmanager
def alone() -> Iterator[Callable[[], None]]:
    """Compute as if ComfyUI were not there: gradients are allowed, and the accelerator can be had.

    Nodes run in inference mode, whose tensors cannot be trained. ComfyUI's models leave the accelerator when
    the function that this gives is called, which is once there is something to compute: to load them again
    takes ComfyUI long. The engine's leave it at the end.
    """
    cleared = False

    def clear() -> None:
        nonlocal cleared
        if not cleared:
            _release()
        cleared = True

    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            yield clear
    finally:
        if cleared:
            _release()


def _release() -> None:
    """Memory back to whoever comes next."""
    comfy.model_management.unload_all_models()
    gc.collect()
    comfy.model_management.soft_empty_cache()


@contextmanager
def watching() -> Iterator[Sink]:
    """A sink that moves the node's progress bar and shows previews on it; the cancel button stops the run."""
    bar = comfy.utils.ProgressBar(1)

    def see(event: Event) -> None:
        try:
            comfy.model_management.throw_exception_if_processing_interrupted()
            _show(bar, event)
        except comfy.model_management.InterruptProcessingException as stop:
            raise Cancelled from stop

    try:
        yield see
    except Cancelled as cancelled:
        if isinstance(cancelled.__cause__, comfy.model_management.InterruptProcessingException):
            raise cancelled.__cause__ from None  # for ComfyUI this is no error
        raise


def _show(bar: Any, event: Event) -> None:
    """One event on the progress bar."""
    if isinstance(event, TrainStep):
        bar.update_absolute(event.step, event.total)
    elif isinstance(event, (FoldStep, SampleStep)):
        bar.update_absolute(event.done, event.total)
    elif isinstance(event, (Preview, Sampled)):
        # The sheet too: on the page a node's last preview hides the images that it gives.
        with Image.open(event.path) as picture:
            bar.update_absolute(bar.current, None, ("JPEG", picture.convert("RGB"), _PREVIEW_SIDE))


def tell(line: str) -> None:
    """Say something on ComfyUI's console."""
    logging.getLogger("clora").info("clora: %s", line)


def blocked(reason: str) -> Any:
    """An output that stops whoever uses it, with the reason."""
    return ExecutionBlocker(reason)


def is_blocked(value: Any) -> bool:
    """Whether :func:`blocked` made it."""
    return isinstance(value, ExecutionBlocker)


def to_image(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures of one size as an IMAGE: float32 (n, height, width, 3) in 0..1."""
    arrays = [np.asarray(picture.convert("RGB"), dtype=np.float32) / 255 for picture in pictures]
    return torch.from_numpy(np.stack(arrays))


def to_pictures(image: torch.Tensor) -> list[Image.Image]:
    """An IMAGE as 8-bit RGB pictures; transparency is dropped."""
    levels = (image[..., :3].detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(one.numpy()) for one in levels]
