"""What a run will take, before it begins: memory, time, disk."""

from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from clora_ext.config.processes import Place
from clora_ext.data import Dataset
from clora_ext.errors import StorageError
from clora_ext.families.step_shape import StepShape
from clora_ext.formats.kept_inputs import measured_bytes
from clora_ext.formats.text import size

from .disk_needs import DiskNeeds, disk_needs
from .layer_rank import layer_rank
from .plan import Plan
from .precision import precision_of
from .previews import previews_are_drawn
from .replay import replayed
from .speeds import known_speed, speed_key
from .step_examples import pixels_change
from .text_reading import TextReading, text_reading
from .weight_bytes import shared_bytes, weight_bytes

if TYPE_CHECKING:
    from clora_ext.config.precision import Precision

__all__ = ["Estimate", "check_disk", "estimate"]

_FLOAT = 4
_TRAINED = 16  # bytes of a trained parameter: itself, its gradient, AdamW's two moments
_PROCESS = 550_000_000  # bytes of Python, torch and diffusers themselves: measured, see docs/estimates.md


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take.

    Attributes:
        memory: bytes at the most, of the accelerator if one is used, else of the process; None: the model's
            configuration does not tell.
        memory_free: bytes that are free there now.
        seconds: of all that is left to do; None: unknown, nothing like it has run on this machine.
        seconds_per_step: of training, in the last run of the same kind; None likewise.
        disk: bytes that the run writes, by what for.
        disk_free: bytes that are free there now.
        notes: what a user should know of it, such as why the text encoders stay during the training.
    """

    memory: int | None
    memory_free: int
    seconds: float | None
    seconds_per_step: float | None
    disk: DiskNeeds
    disk_free: int
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "disk": {**asdict(self.disk), "total": self.disk.total}}


def estimate(plan: Plan, memory_free: int | None = None) -> Estimate:
    """What the run of ``plan`` will take: from headers, and from what the last run of its kind took.

    Args:
        plan: of the run.
        memory_free: bytes that it may take of the device's memory; None: those that are free now.
    """
    from clora_ext.config.memory import free_memory

    precision = precision_of(plan)
    speed = known_speed(speed_key(plan))
    steps = plan.settings.schedule.steps - plan.resume_step
    free = free_memory(precision.device) if memory_free is None else memory_free
    trains = isinstance(plan.material, Dataset)
    reading = text_reading(plan, precision, Place(0, plan.processes)) if trains else None
    return Estimate(
        memory=_memory(plan, precision, free, reading),
        memory_free=free,
        seconds=None if speed is None or speed.rest is None else steps * speed.step + speed.rest,
        seconds_per_step=None if speed is None else speed.step,
        disk=disk_needs(plan),
        disk_free=_free_disk(plan.request.project),
        notes=() if reading is None or not reading.note else (reading.note,),
    )


def check_disk(plan: Plan) -> None:
    """Refuse a plan for which the disk is too small, before anything is done.

    Raises:
        StorageError: says how much is missing.
    """
    needs, free = disk_needs(plan).total, _free_disk(plan.request.project)
    if plan.learned is None and needs > free:
        what = f"the run writes {size(needs)}, {size(free)} are free"
        missing = size(needs - free)
        fix = f"free {missing}, or choose another disk with --project"
        raise StorageError(f"the disk of {plan.request.project} is too small: {what}", fix=fix)


def _memory(plan: Plan, precision: "Precision", free: int, reading: TextReading | None) -> int | None:
    """Bytes at the most: of loading, encoding, drawing, training, whichever takes the most."""
    weights = weight_bytes(plan, precision)
    everything = sum(weights.values())
    drawing = _drawing(plan, precision, free)
    if drawing is None:
        return None
    sums, moments = measured_bytes(plan.layers) if plan.strategy.keeps_inputs else (0, 0)
    together, beside_denoiser = everything, everything - weights["denoiser"]
    if precision.device.type == "cuda" and plan.context.family.reads_apart:
        together -= min(weights["denoiser"], weights["text_encoder"])
        beside_denoiser -= weights["text_encoder"]
    phases = [together, drawing.bytes(weights["denoiser"], beside_denoiser + sums)]
    if reading is not None:
        shape = _step_shape(plan, text_encoders=reading.learns, is_half=precision.is_mixed)
        step = plan.context.family.training_bytes(plan.context.header, shape)
        if step is None:
            return None
        width = precision.frozen.itemsize
        shards = plan.settings.compute.shard
        denoiser = shared_bytes(plan, width) if shards else weights["denoiser"]
        taught = _taught_bytes(plan, precision, denoiser)
        beside = moments + (weights["text_encoder"] if reading.stays else 0)
        beside += reading.memory if precision.device.type == "cpu" else 0
        previews = previews_are_drawn(plan) or pixels_change(plan)
        aside = precision.device.type == "cuda" and not previews  # while it is trained
        phases.append(taught + beside + (0 if aside else weights["vae"]) + step)
        phases.append(drawing.bytes(taught, beside + sums + weights["vae"]))
    return max(phases) + (0 if precision.device.type == "cuda" else _PROCESS)


def _taught_bytes(plan: Plan, precision: "Precision", denoiser: int) -> int:
    """Of the network that is taught, ``denoiser`` bytes wide by itself, with adapters and optimiser."""
    settings = plan.settings
    narrowed = precision.frozen.itemsize if settings.compute.fp8_base else 1
    averages = _FLOAT if plan.ema_decay is not None else 0
    return denoiser // narrowed + (_TRAINED + averages) * plan.parameters


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What drawing and encoding take beside weights.

    Attributes:
        picture: bytes of the VAE's work.
        denoised: bytes of the denoiser's work, at most.
        most: bytes beyond which the denoiser lies aside during the VAE's work; None: it never does.
    """

    picture: int
    denoised: int
    most: int | None

    def bytes(self, denoiser: int, others: int) -> int:
        """With the weights of the denoiser, and of all others that are there."""
        together = denoiser + others + max(self.picture, self.denoised)
        if self.most is None or together <= self.most:
            return together
        return others + max(self.picture, denoiser + self.denoised)


def _drawing(plan: Plan, precision: "Precision", free: int) -> _Drawing | None:
    """Of the plan's largest picture; None: the model's configuration does not tell."""
    family, header = plan.context.family, plan.context.header
    sizes = [(plan.sample_size, plan.sample_size), *plan.sizes]
    picture = family.picture_bytes(header, max(sizes, key=prod))
    denoised = family.training_bytes(header, _drawn_shape(plan, precision))
    if picture is None or denoised is None:
        return None
    return _Drawing(picture, denoised, free if precision.device.type == "cuda" else None)


def _step_shape(plan: Plan, *, text_encoders: bool, is_half: bool) -> StepShape:
    """What decides about the memory of a training step."""
    adapter = plan.settings.adapter
    pictures = plan.settings.data.batch_size + replayed(plan.strategy, plan.settings)
    return StepShape(
        size=max(plan.sizes, key=prod),
        pictures=-(-pictures // plan.processes),
        targets=adapter.targets,
        rank=max(layer_rank(target, plan.settings).rank for target in plan.targets),
        text_encoders=text_encoders,
        is_half=is_half,
        recompute=plan.settings.compute.recomputes,
        convolutions=plan.settings.network.conv_rank is not None,
        copies_weights=plan.settings.compute.copies_weights,
        magnitudes=plan.settings.network.dora,
    )


def _drawn_shape(plan: Plan, precision: "Precision") -> StepShape:
    """What decides about the memory of drawing one picture, with and without its prompt: at most this."""
    return StepShape(
        size=(plan.sample_size, plan.sample_size),
        pictures=2,
        targets="attention",
        rank=1,
        text_encoders=False,
        is_half=precision.is_mixed,
        recompute=True,
    )


def _free_disk(folder: Path) -> int:
    """Bytes that this user may still write where the folder is or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return int(psutil.disk_usage(str(there)).free)
