"""What configuration files ask of clora: settings by its own names, and where each comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .check import Checked
from .from_dataset import from_dataset
from .from_training import from_training
from .origin import ACTS, Origin, Sourced

__all__ = ["Asked", "asked_by"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be done.

    Attributes:
        settings: by the names of :class:`clora_ext.Settings`.
        images: the folder of pictures; None: no file says.
        repeats: how often each is shown in an epoch; None: as the folder's name says.
        base: what a new project starts from; None: no file says.
        prediction: ``v`` where a file says so; else None.
        zero_snr: True where a file says so; else None.
        export_lora: where the finished LoRA is kept; None: nowhere.
        origins: of every value above, by its name.
        overruled: what a file says and another value stands for, in words.
    """

    settings: Mapping[str, Any]
    images: Path | None = None
    repeats: int | None = None
    base: Path | None = None
    prediction: str | None = None
    zero_snr: bool | None = None
    export_lora: Path | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    overruled: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """Everything that is asked for, by name."""
        beside = {name: getattr(self, name) for name in _BESIDE}
        return {**self.settings, **{name: value for name, value in beside.items() if value is not None}}


_BESIDE = ("images", "repeats", "base", "prediction", "zero_snr", "export_lora")


def asked_by(checked: Checked, flags: Mapping[str, Any] | None = None) -> Asked:
    """Flags count more than the dataset file, that more than the training file.

    Args:
        checked: files without errors.
        flags: what the user gives beside them, by the names of :class:`Asked` and of the settings.
    """
    layers: list[Sourced] = []
    if checked.training is not None:
        layers.append(from_training(checked.training))
    if checked.dataset is not None:
        layers.append(from_dataset(checked.dataset))
    layers.append({name: (value, _of_flag(name, value)) for name, value in (flags or {}).items()})
    chosen, overruled = _laid_over_each_other(layers)
    values = {name: value for name, (value, _) in chosen.items()}
    return Asked(
        settings={name: value for name, value in values.items() if name not in _BESIDE},
        **{name: values[name] for name in _BESIDE if name in values},
        origins={name: origin for name, (_, origin) in chosen.items()},
        overruled=tuple(overruled),
    )


# A number of steps and one of epochs exclude each other.
_INSTEAD = {"steps": "epochs", "epochs": "steps"}


def _laid_over_each_other(layers: Sequence[Sourced]) -> tuple[Sourced, list[str]]:
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
    return chosen, overruled


def _of_flag(name: str, value: object) -> Origin:
    option = "IMAGES" if name == "images" else f"--{name.replace('_', '-')}"
    return Origin(option, f"{option} {value}")
