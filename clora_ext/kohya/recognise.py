"""Which program's file a configuration is."""

from collections.abc import Mapping
from typing import Any

from .document import Document
from .key import dataset_keys

__all__ = ["by_ending", "foreign_program", "is_dataset_file"]

_ENDINGS = {
    ".yaml": "is YAML, as ai-toolkit and SimpleTuner write it",
    ".yml": "is YAML, as ai-toolkit and SimpleTuner write it",
    ".txt": "is text; sd-scripts reads prompts for samples from such files, not settings",
}
_TRAIN_WITH_SD_SCRIPTS = "write a TOML file as sd-scripts reads it"
_MUSUBI = frozenset({"image_directory", "cache_directory", "image_jsonl_file", "video_directory"})
_PRESET_OF_GUI = frozenset({"LoRA_type", "LyCORIS_preset", "model_list", "num_cpu_threads_per_process"})
_DEFAULTS_OF_GUI = frozenset({"configuration", "dataset_preparation", "folders"})


def is_dataset_file(document: Document) -> bool:
    """Whether it has the tables of a dataset file; a training file may have a section called general too."""
    values = document.values
    if "datasets" in values:
        return True
    general = values.get("general")
    if not isinstance(general, dict) or len(values) > 1:
        return False
    known = dataset_keys()
    return all("general" in known[name].scopes for name in general if name in known)


def foreign_program(document: Document) -> tuple[str, str] | None:
    """What a file is that sd-scripts cannot read, and what to do; None: nothing of the kind."""
    values = document.values
    for is_so, what, fix in (
        (
            _is_easy_training,
            "a file of LoRA_Easy_Training_Scripts",
            "export the TOML files of sd-scripts there",
        ),
        (
            _is_gui_preset,
            "a preset of the kohya_ss interface",
            "print the training command there: it names a TOML",
        ),
        (_is_gui_defaults, "the settings of the kohya_ss interface itself", _TRAIN_WITH_SD_SCRIPTS),
        (
            _is_lora_scripts_preset,
            "a preset of lora-scripts",
            "download the training parameters there instead",
        ),
        (_is_musubi, "a dataset file of musubi-tuner, which is another program", _TRAIN_WITH_SD_SCRIPTS),
        (_is_prompts, "a file of prompts for samples", "name it as sample_prompts in a training file"),
        (_is_onetrainer, "a configuration of OneTrainer", _TRAIN_WITH_SD_SCRIPTS),
    ):
        if is_so(values):
            return f"is {what}", fix
    return None


def by_ending(suffix: str) -> tuple[str, str] | None:
    """The same, by the ending of the file's name alone."""
    what = _ENDINGS.get(suffix.lower())
    return None if what is None else (what, _TRAIN_WITH_SD_SCRIPTS)


def _is_easy_training(values: Mapping[str, Any]) -> bool:
    nested = any(
        isinstance(value, dict) and ("args" in value or "dataset_args" in value) for value in values.values()
    )
    return nested or ("subsets" in values and "datasets" not in values)


def _is_gui_preset(values: Mapping[str, Any]) -> bool:
    return bool(_PRESET_OF_GUI & values.keys())


def _is_gui_defaults(values: Mapping[str, Any]) -> bool:
    return bool(_DEFAULTS_OF_GUI & values.keys()) and "config_dir" in values.get("configuration", {})


def _is_lora_scripts_preset(values: Mapping[str, Any]) -> bool:
    metadata = values.get("metadata")
    return isinstance(metadata, dict) and isinstance(values.get("data"), dict) and "name" in metadata


def _is_musubi(values: Mapping[str, Any]) -> bool:
    datasets = values.get("datasets")
    tables = datasets if isinstance(datasets, list) else []
    return any(isinstance(one, dict) and _MUSUBI & one.keys() for one in tables)


def _is_prompts(values: Mapping[str, Any]) -> bool:
    return "prompt" in values and not {"datasets", "pretrained_model_name_or_path"} & values.keys()


def _is_onetrainer(values: Mapping[str, Any]) -> bool:
    return "__version" in values or "training_method" in values
