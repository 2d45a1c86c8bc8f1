"""What a training file asks of clora, by clora's names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clora_ext.formats.user_cache import cache_folder

from .judge import Given
from .network_args import NETWORK_ASKS
from .optimizer import OPTIMIZER_ASKS
from .origin import Sourced, of_default, of_given, path_from, settings_as_written
from .scheduler import RATE_ASKS
from .sides import side_of, sides_of
from .training_file import TrainingFile

__all__ = ["from_training"]

_DEFAULTS: Mapping[str, Any] = {
    "rank": 4,
    "alpha": 1.0,
    "targets": "transformer",
    "text_encoder": True,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "steps": 1600,
    "warmup_steps": 0,
    "batch_size": 1,
}
"""What sd-scripts does where the file says nothing, and what its plain LoRA always does."""

_LORA_NAME = "last"
"""sd-scripts' name of a finished LoRA without output_name."""

_WANDB_PROJECT = "network_train"
"""sd-scripts' project at Weights & Biases without log_tracker_name."""

_Given = Mapping[str, Given]
_Answer = tuple[Any, Given] | None


def from_training(file: TrainingFile) -> Sourced:
    """Every setting that the file asks for, or that sd-scripts would take where it asks for none."""
    found: Sourced = {name: (value, of_default(name, value)) for name, value in _DEFAULTS.items()}
    as_written = settings_as_written(file.given)
    found |= {name: value for name, value in as_written.items() if name not in {*RATE_ASKS, *OPTIMIZER_ASKS}}
    answers = {name: ask(file.given) for name, ask in _ASKS.items()}
    answers |= {name: ask(file.given, file.path.parent) for name, ask in _PATHS.items()}
    found |= {
        name: (answer[0], of_given(answer[1])) for name, answer in answers.items() if answer is not None
    }
    if "epochs" in found:
        del found["steps"]
    return found


def _learning_rate(given: _Given) -> _Answer:
    """The UNet's own counts more than that of all; where it is not taught, the text encoders' own."""
    if _text_encoder_only(given) is not None:
        own = given.get("text_encoder_lr")
        return (own.value[0], own) if own is not None and own.value[0] else None
    return (given["unet_lr"].value, given["unet_lr"]) if "unet_lr" in given else None


def _text_encoder_only(given: _Given) -> _Answer:
    """The UNet is not taught where a file says so, in either way."""
    only_text, rate = given.get("network_train_text_encoder_only"), given.get("unet_lr")
    if only_text is not None and only_text.value:
        return True, only_text
    return (True, rate) if rate is not None and not rate.value else None


def _alpha(given: _Given) -> _Answer:
    """0 stands for the rank."""
    if "network_alpha" not in given:
        return None
    rank = given["network_dim"].value if "network_dim" in given else _DEFAULTS["rank"]
    return float(given["network_alpha"].value or rank), given["network_alpha"]


def _resolution(given: _Given) -> _Answer:
    return (side_of(given["resolution"].value), given["resolution"]) if "resolution" in given else None


def _sides(given: _Given) -> _Answer:
    return (sides_of(given["resolution"].value), given["resolution"]) if "resolution" in given else None


def _skipped(given: _Given) -> _Answer:
    if "skip_image_resolution" not in given:
        return None
    width, height = given["skip_image_resolution"].value
    return (width, height), given["skip_image_resolution"]


def _text_encoder_lr(given: _Given) -> _Answer:
    """The text encoders' own, or else that of all where the UNet has its own."""
    own, every = given.get("text_encoder_lr"), given.get("learning_rate")
    if _text_encoder_only(given) is not None:
        return None
    if own is not None:
        return (own.value[0], own) if own.value[0] else None
    return (every.value, every) if every is not None and "unet_lr" in given else None


def _fp8_base(given: _Given) -> _Answer:
    """sd-scripts has two keys for it."""
    found = [given[name] for name in ("fp8_base", "fp8_base_unet") if name in given]
    return next(((True, one) for one in found if one.value), None)


def _text_encoder(given: _Given) -> _Answer:
    """Not taught where a file says so, in either way."""
    only_unet, rate = given.get("network_train_unet_only"), given.get("text_encoder_lr")
    if only_unet is not None and only_unet.value:
        return False, only_unet
    return (False, rate) if rate is not None and not rate.value[0] else None


def _prediction(given: _Given) -> _Answer:
    return ("v", given["v_parameterization"]) if "v_parameterization" in given else None


def _zero_snr(given: _Given) -> _Answer:
    return (True, given["zero_terminal_snr"]) if "zero_terminal_snr" in given else None


def _base(given: _Given, folder: Path) -> _Answer:
    """A file or folder, or else the name of a model on the hub."""
    if "pretrained_model_name_or_path" not in given:
        return None
    asked = given["pretrained_model_name_or_path"]
    path = path_from(folder, asked.value)
    return path if path.exists() else Path(asked.value), asked


def _path(name: str) -> Callable[[_Given, Path], _Answer]:
    """The path that an option names."""

    def ask(given: _Given, folder: Path) -> _Answer:
        return (path_from(folder, given[name].value), given[name]) if name in given else None

    return ask


def _log_dir(given: _Given, folder: Path) -> _Answer:
    """For TensorBoard: nothing is written for it where Weights & Biases alone is named."""
    program = given.get("log_with")
    return None if program is not None and program.value == "wandb" else _path("logging_dir")(given, folder)


def _wandb_project(given: _Given) -> _Answer:
    """sd-scripts' own, where Weights & Biases is named and no project of it."""
    program, name = given.get("log_with"), given.get("log_tracker_name")
    if program is None or program.value == "tensorboard":
        return None
    return (_WANDB_PROJECT, program) if name is None else (name.value, name)


def _export_lora(given: _Given, folder: Path) -> _Answer:
    if "output_dir" not in given:
        return None
    name = given["output_name"].value if "output_name" in given else _LORA_NAME
    return path_from(folder, given["output_dir"].value) / f"{name}.safetensors", given["output_dir"]


def _cache_dir(given: _Given) -> _Answer:
    """sd-scripts keeps such files beside the pictures; clora in the user's cache folder."""
    for name in ("cache_latents_to_disk", "cache_text_encoder_outputs_to_disk"):
        if name in given and given[name].value:
            return cache_folder() / "encodings", given[name]
    return None


_ASKS: Mapping[str, Callable[[_Given], _Answer]] = {
    **RATE_ASKS,
    **OPTIMIZER_ASKS,
    **NETWORK_ASKS,
    "alpha": _alpha,
    "learning_rate": _learning_rate,
    "fp8_base": _fp8_base,
    "text_encoder": _text_encoder,
    "text_encoder_only": _text_encoder_only,
    "text_encoder_lr": _text_encoder_lr,
    "resolution": _resolution,
    "sides": _sides,
    "skipped": _skipped,
    "prediction": _prediction,
    "zero_snr": _zero_snr,
    "cache_dir": _cache_dir,
    "wandb_project": _wandb_project,
}
_PATHS: Mapping[str, Callable[[_Given, Path], _Answer]] = {
    "base": _base,
    "images": _path("train_data_dir"),
    "regularisation_images": _path("reg_data_dir"),
    "mask_folder": _path("conditioning_data_dir"),
    "log_dir": _log_dir,
    "start_from": _path("network_weights"),
    "vae": _path("vae"),
    "preview_prompts": _path("sample_prompts"),
    "export_lora": _export_lora,
}
