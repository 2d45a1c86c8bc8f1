"""What a training file asks of clora, by clora's names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .judge import Given
from .origin import Sourced, of_default, of_given, path_from, settings_as_written
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

_Given = Mapping[str, Given]
_Answer = tuple[Any, Given] | None


def from_training(file: TrainingFile) -> Sourced:
    """Every setting that the file asks for, or that sd-scripts would take where it asks for none."""
    found: Sourced = {name: (value, of_default(name, value)) for name, value in _DEFAULTS.items()}
    found |= settings_as_written(file.given)
    answers = {name: ask(file.given) for name, ask in _ASKS.items()}
    answers |= {name: ask(file.given, file.path.parent) for name, ask in _PATHS.items()}
    found |= {
        name: (answer[0], of_given(answer[1])) for name, answer in answers.items() if answer is not None
    }
    if "epochs" in found:
        del found["steps"]
    return found


def _learning_rate(given: _Given) -> _Answer:
    """The UNet's own counts more than that of all."""
    return (given["unet_lr"].value, given["unet_lr"]) if "unet_lr" in given else None


def _alpha(given: _Given) -> _Answer:
    """0 stands for the rank."""
    if "network_alpha" not in given:
        return None
    rank = given["network_dim"].value if "network_dim" in given else _DEFAULTS["rank"]
    return float(given["network_alpha"].value or rank), given["network_alpha"]


def _resolution(given: _Given) -> _Answer:
    return (given["resolution"].value[0], given["resolution"]) if "resolution" in given else None


def _skipped(given: _Given) -> _Answer:
    if "skip_image_resolution" not in given:
        return None
    width, height = given["skip_image_resolution"].value
    return (width, height), given["skip_image_resolution"]


def _warmup_steps(given: _Given) -> _Answer:
    """Of a share, that of the steps; a share of epochs the check has refused."""
    if "lr_warmup_steps" not in given:
        return None
    asked = given["lr_warmup_steps"]
    if isinstance(asked.value, int):
        return asked.value, asked
    steps = given["max_train_steps"].value if "max_train_steps" in given else _DEFAULTS["steps"]
    return round(asked.value * steps), asked


def _weight_decay(given: _Given) -> _Answer:
    if "optimizer_args" not in given:
        return None
    return float(given["optimizer_args"].value["weight_decay"]), given["optimizer_args"]


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


def _export_lora(given: _Given, folder: Path) -> _Answer:
    if "output_dir" not in given:
        return None
    name = given["output_name"].value if "output_name" in given else _LORA_NAME
    return path_from(folder, given["output_dir"].value) / f"{name}.safetensors", given["output_dir"]


_ASKS: Mapping[str, Callable[[_Given], _Answer]] = {
    "alpha": _alpha,
    "learning_rate": _learning_rate,
    "text_encoder": _text_encoder,
    "weight_decay": _weight_decay,
    "warmup_steps": _warmup_steps,
    "resolution": _resolution,
    "skipped": _skipped,
    "prediction": _prediction,
    "zero_snr": _zero_snr,
}
_PATHS: Mapping[str, Callable[[_Given, Path], _Answer]] = {
    "base": _base,
    "images": _path("train_data_dir"),
    "regularisation_images": _path("reg_data_dir"),
    "mask_folder": _path("conditioning_data_dir"),
    "log_dir": _path("logging_dir"),
    "export_lora": _export_lora,
}
