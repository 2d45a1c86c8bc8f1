"""This process's place among those that a launcher has started for one command. Needs no torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from clora_ext.errors import UsageError

__all__ = [
    "ALONE",
    "Place",
    "asks_for_shards",
    "check_single_process",
    "computes_on_processor",
    "own_place",
]

_SIZE = "WORLD_SIZE"  # of torchrun and accelerate
# Of Slurm's srun, and of three kinds of MPI: they say how many there are, and not where these meet.
_OTHER_SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")
_LONGEST = 9  # digits


@dataclass(frozen=True, slots=True)
class Place:
    """A process's place in a job of several that train one adapter together.

    Attributes:
        rank: its number in the whole job, from 0.
        size: of the job, in processes.
        local_rank: its number on its machine, from 0: it computes on the GPU of that number.
        in_step: whether all have to make the same passes through the network, which none can do alone: its
            weights are shared out.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    in_step: bool = False

    @property
    def leads(self) -> bool:
        """Whether it is the one that plans, saves, draws, folds and commits."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there are no others."""
        return self.size == 1

    @property
    def words(self) -> str:
        """For people: counted from 1."""
        return f"process {self.rank + 1} of {self.size}"

    def part(self, count: int) -> range:
        """Which of so many things in a row are this process's; all processes together have all of them.

        >>> [list(Place(rank, 2).part(5)) for rank in range(2)]
        [[0, 1], [2, 3, 4]]
        """
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)


ALONE = Place()
"""The place of a process that nobody has started several times."""


def own_place(environment: Mapping[str, str] = os.environ) -> Place:
    """Where torchrun or accelerate have put this process.

    Raises:
        UsageError: it is one of several, and nothing says which, or where they meet.
    """
    size = _number(environment, _SIZE)
    if size is None or size <= 1:
        _refuse_other_launchers(environment)
        return ALONE
    rank, local_rank = _number(environment, "RANK"), _number(environment, "LOCAL_RANK")
    missing = [name for name in _MEETING if not environment.get(name, "").strip()]
    if rank is None or rank >= size or missing:
        what = ", ".join(missing) if missing else f"a RANK below {size}"
        message = f"this is one of {size} processes ({_SIZE}), but the environment lacks {what}"
        raise UsageError(message, fix=_by_torchrun(_SIZE))
    return Place(rank, size, local_rank or 0)


def check_single_process(environment: Mapping[str, str] = os.environ) -> None:
    """Make sure that nobody has started this as one of several processes, where these cannot share it.

    Raises:
        UsageError: names the variable that says so.
    """
    for name in (_SIZE, *_OTHER_SIZES):
        size = _number(environment, name)
        if size is not None and size > 1:
            message = f"this is one of {size} processes ({name}), and only add-concept on pictures is shared"
            fix = "start it without torchrun, accelerate launch, srun -n or mpirun, or unset the variable"
            raise UsageError(message, fix=fix)


def computes_on_processor(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a job of several processes leaves GPUs alone, by accelerate's own switch for it."""
    return _says_yes(environment, "ACCELERATE_USE_CPU") and (_number(environment, _SIZE) or 1) > 1


def asks_for_shards(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a job of several processes was started to share the weights out, by ``accelerate launch``."""
    return _says_yes(environment, "ACCELERATE_USE_FSDP") and (_number(environment, _SIZE) or 1) > 1


def _says_yes(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").strip().lower() in {"1", "true", "yes", "on", "y", "t"}


def _refuse_other_launchers(environment: Mapping[str, str]) -> None:
    for name in _OTHER_SIZES:
        size = _number(environment, name)
        if size is not None and size > 1:
            message = f"this is one of {size} processes ({name}), which do not know where to meet"
            raise UsageError(message, fix=_by_torchrun(name))


def _by_torchrun(variable: str) -> str:
    return (
        "start it by torchrun or accelerate launch, as docs/training.md shows; or once, without srun -n or "
        f"mpirun, or with {variable} unset"
    )


def _number(environment: Mapping[str, str], name: str) -> int | None:
    """What a variable says; None: nothing, or no number."""
    text = environment.get(name, "").strip()
    return int(text[:_LONGEST]) if text.isdecimal() else None
