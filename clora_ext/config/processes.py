"""How many processes a launcher has started for one command. clora runs in one."""

import os
from collections.abc import Mapping

from clora_ext.errors import UsageError

__all__ = ["check_single_process"]

# Set for each process by torchrun and accelerate, by Slurm's srun, and by three kinds of MPI.
_SIZES = (
    "WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
)


def check_single_process(environment: Mapping[str, str] = os.environ) -> None:
    """Make sure that nobody has started this command as one of several processes.

    Raises:
        UsageError: names the variable that says so.
    """
    for name in _SIZES:
        size = environment.get(name, "").strip()
        if size.isdecimal() and int(size[:9]) > 1:
            message = (
                f"this is one of {size[:9]} processes ({name}); clora cannot share a run among several yet"
            )
            fix = (
                "start it without torchrun, accelerate launch, srun -n or mpirun, or unset the variable; on "
                "several GPUs, teach several projects at once, each with a CUDA_VISIBLE_DEVICES of its own"
            )
            raise UsageError(message, fix=fix)
