"""A command that a launcher has started several times is refused, by the variable that says so."""

import os

import pytest
from cases import check_each

from clora_ext.config.processes import check_single_process
from clora_ext.errors import UsageError

LAUNCHERS = {
    "torchrun and accelerate": {"WORLD_SIZE": "4", "RANK": "0"},
    "srun": {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"},
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "8"},
    "mpiexec": {"PMI_SIZE": " 3 "},
    "an endless number": {"WORLD_SIZE": "9" * 5000},
}
ALONE = (
    {}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "many"}, {"WORLD_SIZE": "-2"},
    {"SLURM_NTASKS": "4"},  # an allocation: nothing says that this command runs four times
)  # fmt: skip


def test_several_processes_are_refused_by_name() -> None:
    def check(launcher: str) -> None:
        environment = LAUNCHERS[launcher]
        with pytest.raises(UsageError, match=next(iter(environment))) as caught:
            check_single_process(environment)
        assert "CUDA_VISIBLE_DEVICES" in caught.value.fix
        assert len(caught.value.message) < 200

    check_each(LAUNCHERS, check)


def test_one_process_is_fine_however_it_was_started() -> None:
    check_each(ALONE, check_single_process)


def test_the_process_asks_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one of 2 processes"):
        check_single_process()
