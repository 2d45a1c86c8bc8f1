"""What configuration files ask of clora: settings by its own names, and where each comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clora_ext.config.knob_fields import knob_fields
from clora_ext.config.settings import Settings
from clora_ext.data.subset import Subset
from clora_ext.errors import UsageError
from clora_ext.runs.lora_output import LoraOutput

from .check import Checked
from .folder import is_held_out, is_regularisation, regularisation_of, subset_of
from .from_dataset import from_dataset
from .from_training import from_training
from .lora import lora_of
from .origin import ACTS, Origin, Sourced

__all__ = ["Asked", "asked_by"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be done.

    Attributes:
        settings: by the names of :class:`clora_ext.Settings`.
        images: the folder of pictures, of several the first; None: no file says.
        base: what a new project starts from; None: no file says.
        prediction: ``v`` where a file says so; else None.
        zero_snr: True where a file says so; else None.
        export_lora: where the finished LoRA is kept; None: nowhere.
        token: that calls the concept; None: no file says.
        class_name: what kind of thing it is; None: no file says.
        log_dir: folder of runs for TensorBoard; None: nowhere.
        log_prefix: of the run's folder there.
        wandb_project: at Weights & Biases, which is told the same; None: it is not.
        wandb_name: of the run there; None: no file says.
        cache_dir: folder in which encodings are kept; None: nowhere.
        vae: that takes the place of the checkpoint's own; None: no file says.
        preview_prompts: a file of prompts for previews; None: no file says.
        start_from: a LoRA that the training begins as; None: no file says.
        subsets: the folders with what holds for each; empty: no file says.
        origins: of every value above, by its name; of folders those of the first.
        overruled: what a file says and another value stands for, in words.
    """

    settings: Mapping[str, Any]
    images: Path | None = None
    base: Path | None = None
    prediction: str | None = None
    zero_snr: bool | None = None
    export_lora: Path | LoraOutput | None = None
    token: str | None = None
    class_name: str | None = None
    log_dir: Path | None = None
    log_prefix: str = ""
    wandb_project: str | None = None
    wandb_name: str | None = None
    start_from: Path | None = None
    cache_dir: Path | None = None
    vae: Path | None = None
    preview_prompts: Path | None = None
    subsets: tuple[Subset, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)
    overruled: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of pictures.

        Raises:
            UsageError: nobody says.
        """
        if self.images is None:
            raise UsageError("no pictures are named", fix="name a folder: clora add-concept ./dog_images")
        return self.images

    @property
    def values(self) -> dict[str, Any]:
        """Everything that is asked for once, by name."""
        beside = {name: getattr(self, name) for name in _BESIDE}
        return {
            **self.settings,
            **{name: value for name, value in beside.items() if value is not None and value != ""},
        }


_BESIDE = (
    "images", "base", "prediction", "zero_snr", "export_lora", "token", "class_name", "log_dir", "log_prefix",
    "wandb_project", "wandb_name", "start_from", "cache_dir", "vae", "preview_prompts",
)  # fmt: skip
_TOP = ("strategy", "strategy_options")


def asked_by(checked: Checked, flags: Mapping[str, Any] | None = None) -> Asked:
    """Flags count more than the dataset file, that more than the training file, that more than clora's own.

    Args:
        checked: files without errors.
        flags: what the user gives beside them, by the names of :class:`Asked` and of the settings.
    """
    training = {} if checked.run is None else dict(checked.run.values)
    if checked.training is not None:
        training |= from_training(checked.training)
    said: Sourced = {name: (value, _of_flag(name, value)) for name, value in (flags or {}).items()}
    if "resolution" in said:  # the side of a square, in the place of any width and height
        said["sides"] = (None, said["resolution"][1])
    folders, others = _folders(checked, training, said)
    chosen, overruled = laid_over_each_other([training, folders[0], said])
    values = {name: value for name, (value, _) in chosen.items()}
    settings = {name: value for name, value in values.items() if name in {*knob_fields(Settings), *_TOP}}
    subsets = []
    for folder in folders if "images" in values else []:
        own, vain = laid_over_each_other([training, folder, _without_folder(said, folder)])
        subsets.append(subset_of({name: value for name, (value, _) in own.items()}, settings))
        overruled += [line for line in vain if line not in overruled]
    return Asked(
        settings=settings,
        **{name: values[name] for name in _BESIDE if name in values and name != "export_lora"},
        export_lora=lora_of(Path(values["export_lora"]), values) if values.get("export_lora") else None,
        subsets=tuple(subsets),
        origins={name: origin for name, (_, origin) in chosen.items() if name in {*settings, *_BESIDE}},
        overruled=(*overruled, *others),
    )


def _folders(checked: Checked, training: Sourced, said: Sourced) -> tuple[list[Sourced], list[str]]:
    """The values of each folder, the first one of the concept; and folders named in vain."""
    if checked.dataset is not None:
        folders = from_dataset(checked.dataset)
    else:
        folders = [{}, *regularisation_of(training)]
    taught = sorted((one for one in folders if not is_regularisation(one)), key=is_held_out)
    rest = [one for one in folders if is_regularisation(one)]
    if "images" not in said:
        return [*taught, *rest], []
    flag = said["images"][1]
    left = [one["images"][1] for one in taught[1:]]
    return [*taught[:1], *rest], [f"{one.place}  {one.written}: {flag.written} counts more" for one in left]


def _without_folder(said: Sourced, folder: Sourced) -> Sourced:
    """Flags as they hold for a folder: where the concept's pictures are says nothing of regularisation."""
    return {name: one for name, one in said.items() if name != "images" or not is_regularisation(folder)}


# A number of steps and one of epochs exclude each other.
_INSTEAD = {"steps": "epochs", "epochs": "steps"}


def laid_over_each_other(layers: Sequence[Sourced]) -> tuple[Sourced, list[str]]:
    """What counts of all of them, the last most; and what files said in vain."""
    chosen: Sourced = {}
    overruled = []
    for layer in layers:
        for name, (value, origin) in layer.items():
            for place in {name, _INSTEAD.get(name, name)}:
                before, was = chosen.pop(place, (value, origin))
                if (before != value or place != name) and was.place != ACTS and was is not origin:
                    overruled.append(f"{was.place}  {was.written}: {origin.written} counts more")
            chosen[name] = (value, origin)
    return chosen, list(dict.fromkeys(overruled))


_SPELLED = {"images": "IMAGES", "strategy_options": "--strategy-option", "wandb_project": "--wandb"}


def _of_flag(name: str, value: object) -> Origin:
    option = _SPELLED.get(name, f"--{name.replace('_', '-')}")
    return Origin(option, f"{option} {value}")
