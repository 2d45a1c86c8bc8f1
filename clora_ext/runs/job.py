"""A training shared by several processes: each has its own batch, and a step shows all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clora_ext.config.processes import asks_for_shards
from clora_ext.config.settings import Settings
from clora_ext.data import Cut, Dataset, Picture
from clora_ext.errors import UsageError
from clora_ext.formats.text import counted
from clora_ext.formats.training_state import STATE_FILE

from .counted_steps import counted_in_steps
from .plan import bucketed, steps_of_epoch
from .plan_basis import PlanBasis

__all__ = ["check_shards", "check_stopped", "job_dataset", "job_settings", "shared_out"]


def shared_out(
    basis: PlanBasis, scanned: Dataset, cuts: Sequence[Cut], processes: int
) -> tuple[Dataset, Settings, int]:
    """Pictures and settings of a job of so many processes, counted in steps, and the steps of its epoch.

    Args:
        basis: with the settings of one process.
        scanned: the pictures as they were found.
        cuts: of them.
        processes: of the job.

    Raises:
        SettingsError: what the learning rate is to do does not fit into the steps.
    """
    dataset, settings = job_dataset(scanned, processes), job_settings(basis.settings, processes)
    epoch = steps_of_epoch(bucketed(dataset.pictures, cuts), settings)
    return dataset, counted_in_steps(settings, epoch, validated=bool(dataset.held_out)), epoch


def job_settings(settings: Settings, processes: int) -> Settings:
    """The settings of the whole job, whose batch is that of all processes.

    >>> job_settings(Settings.of(batch_size=4), 2).data.batch_size
    8
    """
    if processes == 1:
        return settings
    return settings.with_values(batch_size=settings.data.batch_size * processes)


def job_dataset(dataset: Dataset, processes: int) -> Dataset:
    """The same of pictures that come with a batch size of their own."""
    if processes == 1:
        return dataset
    pictures, held_out = _of_job(dataset.pictures, processes), _of_job(dataset.held_out, processes)
    return replace(dataset, pictures=pictures, held_out=held_out)


def _of_job(pictures: Sequence[Picture], processes: int) -> tuple[Picture, ...]:
    return tuple(
        picture
        if (own := picture.subset.batch_size) is None
        else replace(picture, subset=replace(picture.subset, batch_size=own * processes))
        for picture in pictures
    )


def check_stopped(basis: PlanBasis, scanned: Dataset, cuts: Sequence[Cut], beside: Mapping[str, Any]) -> None:
    """Refuse to give up a stopped run only because it went in another number of processes.

    Args:
        basis: with the settings of one process.
        scanned: the pictures as they were found.
        cuts: of them.
        beside: what else shapes the result.

    Raises:
        UsageError: with both numbers, and how to go on.
    """
    stopped = None if basis.project is None else basis.project.unfinished
    if basis.project is None or stopped is None or stopped.processes == basis.processes:
        return
    dataset, settings, _ = shared_out(basis, scanned, cuts, stopped.processes)
    if basis.fingerprint(dataset.fingerprint, {**settings.shaping(), **beside}) != stopped.plan:
        return
    then, now, each = stopped.processes, basis.processes, basis.settings.data.batch_size
    message = (
        f"this run was stopped ({stopped.words}): it shows {counted(then * each, 'picture')} in a step, and "
        f"{_counted(now)} with batches of {each} would show {now * each}"
    )
    same = (
        "" if then * each % now else f", or ask for --batch-size {then * each // now}: equal up to rounding"
    )
    state = basis.project.training_dir / STATE_FILE
    raise UsageError(message, fix=f"go on in {_counted(then)}{same}; to give the run up, delete {state}")


def check_shards(settings: Settings, processes: int) -> None:
    """Refuse to share weights out where that cannot be, and a launcher's wish for it that is not the run's.

    Raises:
        UsageError: says why, and what to do.
    """
    from clora_ext.config.precision import pick_precision
    from clora_ext.families.sharded import can_shard

    if not settings.compute.shard:
        if asks_for_shards():
            message = (
                "accelerate is asked to share the weights out (ACCELERATE_USE_FSDP), the training is not"
            )
            raise UsageError(message, fix="add --shard, or launch it without --use_fsdp")
        return
    if processes == 1:
        message = "--shard shares the weights out over several processes, and there is one"
        raise UsageError(message, fix="start it by torchrun or accelerate launch, or leave --shard out")
    if pick_precision().device.type == "mps":
        message = (
            "--shard: PyTorch shares weights out between CUDA's GPUs and between processors, not Apple's GPUs"
        )
        raise UsageError(message, fix="leave --shard out")
    if not can_shard():
        raise UsageError("--shard needs PyTorch 2.7 or newer", fix="upgrade PyTorch, or leave --shard out")


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"
