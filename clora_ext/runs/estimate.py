"""What a run will take, before it begins: memory, time, disk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from clora_ext.data import Dataset
from clora_ext.errors import StorageError
from clora_ext.families.components import Role
from clora_ext.families.step_shape import StepShape
from clora_ext.formats.kept_inputs import measured_bytes
from clora_ext.formats.text import size

from .disk_needs import DiskNeeds, disk_needs
from .plan import Plan
from .replay import replayed
from .speeds import known_speed, speed_key
from .step_captions import varies
from .step_examples import pixels_change

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
    """

    memory: int | None
    memory_free: int
    seconds: float | None
    seconds_per_step: float | None
    disk: DiskNeeds
    disk_free: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "disk": {**asdict(self.disk), "total": self.disk.total}}


def estimate(plan: Plan) -> Estimate:
    """What the run of ``plan`` will take: from headers, and from what the last run of its kind took."""
    from clora_ext.config.memory import free_memory
    from clora_ext.config.precision import pick_precision

    precision = pick_precision()
    speed = known_speed(speed_key(plan))
    steps = plan.settings.schedule.steps - plan.resume_step
    return Estimate(
        memory=_memory(plan, precision),
        memory_free=free_memory(precision.device),
        seconds=None if speed is None or speed.rest is None else steps * speed.step + speed.rest,
        seconds_per_step=None if speed is None else speed.step,
        disk=disk_needs(plan),
        disk_free=_free_disk(plan.request.project),
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


def _memory(plan: Plan, precision: "Precision") -> int | None:
    """Bytes at the most: of loading, encoding, drawing, training, whichever takes the most."""
    family, header = plan.context.family, plan.context.header
    weights = _weights(plan, precision)
    everything = sum(weights.values())
    sizes = [(plan.sample_size, plan.sample_size), *plan.sizes]
    picture = family.picture_bytes(header, max(sizes, key=prod))
    if picture is None:
        return None
    sums, moments = measured_bytes(plan.layers) if plan.strategy.keeps_inputs else (0, 0)
    phases = [everything + picture + sums]
    if isinstance(plan.material, Dataset):
        step = family.training_bytes(header, _step_shape(plan, precision))
        if step is None:
            return None
        settings = plan.settings
        kept = weights["denoiser"] + _TRAINED * plan.parameters
        kept += weights["text_encoder"] if _text_changes(plan) else 0
        previews = settings.sampling.preview_every > 0 or pixels_change(plan)
        phases.append(kept + moments + (weights["vae"] + max(step, picture) if previews else step))
        if sums:  # which are taken with the adapters in place
            phases.append(kept + moments + sums + weights["vae"] + picture)
    if precision.device.type == "cuda":
        return max(phases)
    frozen = _FLOAT * sum(
        prod(target.shape) for target in plan.targets
    )  # beside the model while it is loaded
    return _PROCESS + max(*phases, everything + frozen)


def _weights(plan: Plan, precision: "Precision") -> Mapping[Role, int]:
    """Bytes of the model's weights in memory, by the role of their component."""
    header = plan.context.header
    found: dict[Role, int] = {"denoiser": 0, "text_encoder": 0, "vae": 0}
    for name, role in plan.context.family.roles(header).items():
        if role is not None:
            width = _FLOAT if role == "vae" else precision.frozen.itemsize
            found[role] += width * prod(header.tensors[name].shape)
    return found


def _step_shape(plan: Plan, precision: "Precision") -> StepShape:
    """What decides about the memory of a training step."""
    adapter = plan.settings.adapter
    return StepShape(
        size=max(plan.sizes, key=prod),
        pictures=plan.settings.data.batch_size + replayed(plan.strategy, plan.settings.data.batch_size),
        targets=adapter.targets,
        rank=adapter.rank,
        text_encoders=_text_learns(plan),
        is_half=precision.is_mixed,
        recompute=plan.settings.compute.gradient_checkpointing,
    )


def _text_learns(plan: Plan) -> bool:
    """Whether gradients flow through the text encoders."""
    return plan.settings.adapter.text_encoder or plan.strategy.row_rate() > 0


def _text_changes(plan: Plan) -> bool:
    """Whether the text encoders are asked in every step, and stay."""
    return _text_learns(plan) or varies(plan) or pixels_change(plan)


def _free_disk(folder: Path) -> int:
    """Bytes that this user may still write where the folder is or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return int(psutil.disk_usage(str(there)).free)
