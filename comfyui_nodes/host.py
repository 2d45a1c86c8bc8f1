"""ComfyUI, as the nodes see it: the only file of the pack that imports it."""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_sampling
import comfy.sd
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy_api.latest import ComfyExtension, io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image

from clora_ext.errors import Cancelled, UsageError
from clora_ext.events import Event, FoldStep, Preview, Sampled, SampleStep, Sink, TrainStep
from clora_ext.formats.prediction import Prediction

__all__ = [
    "ComfyExtension",
    "alone",
    "any_folder_allowed",
    "blocked",
    "checkpoint_names",
    "checkpoint_path",
    "input_folder",
    "input_folders",
    "io",
    "is_blocked",
    "load_checkpoint",
    "load_clip",
    "lora_names",
    "lora_path",
    "output_folder",
    "patched",
    "predicting",
    "program_folder",
    "temporary_folder",
    "to_image",
    "to_pictures",
    "ui",
    "watching",
]

_ANY_FOLDER = "CLORA_ANY_FOLDER"
_PREVIEW_SIDE = 1024
_SET = "set"  # the patch that replaces a weight


def checkpoint_names() -> list[str]:
    """Checkpoints that ComfyUI lists and clora can read."""
    return [name for name in folder_paths.get_filename_list("checkpoints") if name.endswith(".safetensors")]


def checkpoint_path(name: str) -> Path:
    """The file of a listed checkpoint."""
    return Path(folder_paths.get_full_path_or_raise("checkpoints", name))


def lora_names() -> list[str]:
    """LoRAs that ComfyUI lists and clora can read."""
    return [name for name in folder_paths.get_filename_list("loras") if name.endswith(".safetensors")]


def lora_path(name: str) -> Path:
    """The file of a listed LoRA."""
    return Path(folder_paths.get_full_path_or_raise("loras", name))


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


def blocked(reason: str) -> Any:
    """An output that stops whoever uses it, with the reason."""
    return ExecutionBlocker(reason)


def is_blocked(value: Any) -> bool:
    """Whether :func:`blocked` made it."""
    return isinstance(value, ExecutionBlocker)


def load_clip(file: Path) -> Any:
    """CLIP of a checkpoint."""
    embeddings = folder_paths.get_folder_paths("embeddings")
    _, clip, *_ = comfy.sd.load_checkpoint_guess_config(
        str(file), output_vae=False, output_clip=True, output_model=False, embedding_directory=embeddings
    )
    return clip


def load_checkpoint(file: Path) -> tuple[Any, Any, Any]:
    """MODEL, CLIP and VAE of a checkpoint.

    Raises:
        RuntimeError: ComfyUI does not know this kind of model.
    """
    embeddings = folder_paths.get_folder_paths("embeddings")
    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(
        str(file), output_vae=True, output_clip=True, embedding_directory=embeddings
    )
    return model, clip, vae


def patched(model: Any, weights: dict[str, torch.Tensor]) -> Any:
    """A copy of a MODEL in which some weights, by their names in the checkpoint, are others.

    Raises:
        RuntimeError: ComfyUI's model has no such weight.
    """
    copy = model.clone()
    patches = {name.removeprefix("model."): (_SET, (weight,)) for name, weight in weights.items()}
    _drop_set_values(copy, patches)
    missing = set(patches) - set(copy.add_patches(patches, strength_patch=1.0))
    if missing:
        message = f"ComfyUI's model has no weight {min(missing)}"
        raise RuntimeError(message)
    return copy


def predicting(model: Any, prediction: Prediction) -> Any:
    """A MODEL that samples as a model of this prediction must; the same one where ComfyUI has seen it itself.

    ComfyUI sees the markers of SDXL that predicts v, and nothing else.
    """
    sampling = model.get_model_object("model_sampling")
    is_v = isinstance(sampling, comfy.model_sampling.V_PREDICTION)
    if (is_v, bool(getattr(sampling, "zsnr", False))) == (prediction.kind == "v", prediction.zero_snr):
        return model
    kinds = {"epsilon": comfy.model_sampling.EPS, "v": comfy.model_sampling.V_PREDICTION}

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, kinds[prediction.kind]):
        """As ComfyUI's own node ModelSamplingDiscrete makes it."""

    copy = model.clone()
    copy.add_object_patch("model_sampling", Sampling(model.model.model_config, zsnr=prediction.zero_snr))
    return copy


def _drop_set_values(copy: Any, names: Iterable[str]) -> None:
    """Forget what these weights of a copy were set to before.

    A copy takes over the patches of its original and adds its own behind them. The last value that is set
    wins, but without this a chain of concepts would keep every concept's weights in memory.
    """
    for name in names:
        if name in copy.patches:
            copy.patches[name] = [patch for patch in copy.patches[name] if not _sets_whole_weight(patch)]


def _sets_whole_weight(patch: Sequence[Any]) -> bool:
    """Whether a patch (strength, what, the model's strength, part of the weight, function) is like ours."""
    _, what, _, part, _ = patch
    return isinstance(what, tuple) and what[0] == _SET and part is None


def to_image(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures of one size as an IMAGE: float32 (n, height, width, 3) in 0..1."""
    arrays = [np.asarray(picture.convert("RGB"), dtype=np.float32) / 255 for picture in pictures]
    return torch.from_numpy(np.stack(arrays))


def to_pictures(image: torch.Tensor) -> list[Image.Image]:
    """An IMAGE as 8-bit RGB pictures; transparency is dropped."""
    levels = (image[..., :3].detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(one.numpy()) for one in levels]
