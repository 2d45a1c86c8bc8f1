"""ComfyUI's own models: loaded from their files, patched, sampled as they must be."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import comfy.model_sampling
import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfyui_version import __version__

from clora_ext.errors import UsageError
from clora_ext.formats.composed import open_model
from clora_ext.formats.prediction import Prediction

__all__ = ["check_version", "load_checkpoint", "load_clip", "load_parts", "patched", "predicting"]

_SET = "set"  # the patch that replaces a weight
_FLOW_FROM = (0, 33)  # the first ComfyUI that is known to draw models in parts as clora does


def check_version(title: str) -> None:
    """Make sure that this ComfyUI draws a model in parts as it is taught; ``title``: what people call it.

    Raises:
        UsageError: it is older than those that were looked at.
    """
    found = tuple(int(number) for number in re.findall(r"\d+", __version__)[:2])
    if found < _FLOW_FROM:
        needed = ".".join(map(str, _FLOW_FROM))
        message = f"the nodes teach {title} in ComfyUI {needed} and newer; this is {__version__}"
        raise UsageError(message, fix="update ComfyUI, or teach it by the command: clora add-concept")


def load_parts(transformer: Path, companions: Mapping[str, Path], kind: str) -> tuple[Any, Any, Any]:
    """MODEL, CLIP and VAE of a model in parts; ``kind``: the type that Load CLIP wants for it.

    Raises:
        RuntimeError: ComfyUI does not know this kind of model.
        UsageError: it lies in other parts than ComfyUI loads.
    """
    if set(companions) != {"text_encoder", "vae"} or companions["text_encoder"].is_dir():
        message = f"ComfyUI does not load {transformer} with {', '.join(map(str, companions.values()))}"
        fix = "it loads a transformer, a text encoder and a VAE, each one file, or one file of everything"
        raise UsageError(message, fix=fix)
    text, vae = companions["text_encoder"], companions["vae"]
    embeddings = folder_paths.get_folder_paths("embeddings")
    clip_type = getattr(comfy.sd.CLIPType, kind.upper())
    model = _load_transformer(transformer)
    clip = comfy.sd.load_clip([str(text)], embedding_directory=embeddings, clip_type=clip_type)
    weights, metadata = comfy.utils.load_torch_file(str(vae), return_metadata=True)
    loaded = comfy.sd.VAE(sd=weights, metadata=metadata)
    loaded.throw_exception_if_invalid()
    return model, clip, loaded


def _load_transformer(file: Path) -> Any:
    """MODEL of a transformer, whatever its names.

    Raises:
        RuntimeError: ComfyUI does not know this kind of model.
    """
    try:
        return comfy.sd.load_diffusion_model(str(file))
    # By diffusers' names, ComfyUI 0.33 takes Flux.2 for Flux 1, and misses a tensor; Krea 2 it does not know.
    except (KeyError, RuntimeError):
        stored = open_model(file)
        weights = {name: stored.read(name) for name in stored.names}
        model = comfy.sd.load_diffusion_model_state_dict(weights)
    if model is None:
        message = f"ComfyUI does not know the model in {file}"
        raise RuntimeError(message)
    return model


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
    if prediction.kind == "flow":
        return model
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
