"""Where launchers put a process, and which of them do not say enough."""

import os

import pytest
from cases import check_each

from clora_ext.config.processes import (
    ALONE,
    Place,
    check_single_process,
    computes_on_processor,
    own_place,
)
from clora_ext.errors import UsageError

MEETING = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
OTHERS = {
    "srun": {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"},
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "8"},
    "mpiexec": {"PMI_SIZE": " 3 "},
}
LACKING = {
    "no rank": {"WORLD_SIZE": "4", **MEETING},
    "a rank that is none": {"WORLD_SIZE": "4", "RANK": "4", **MEETING},
    "no place to meet": {"WORLD_SIZE": "4", "RANK": "0", "MASTER_ADDR": "10.0.0.1"},
    "an endless number": {"WORLD_SIZE": "9" * 5000},
}
SEVERAL = {**OTHERS, **LACKING, "torchrun": {"WORLD_SIZE": "4", "RANK": "0", **MEETING}}
SINGLE = (
    {}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "many"}, {"WORLD_SIZE": "-2"},
    {"WORLD_SIZE": "0"},
    {"SLURM_NTASKS": "4"},  # an allocation: nothing says that this command runs four times
)  # fmt: skip


def test_torchrun_and_accelerate_say_which_process_it_is() -> None:
    launched = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", **MEETING}
    assert own_place(launched) == Place(3, 4, 1)
    assert own_place({**launched, "SLURM_STEP_NUM_TASKS": "2"}) == Place(3, 4, 1)  # srun has started torchrun
    assert not own_place(launched).leads
    assert own_place(launched).words == "process 4 of 4"


def test_launchers_that_do_not_say_enough_are_refused_by_name() -> None:
    def check(launcher: str) -> None:
        environment = SEVERAL[launcher]
        with pytest.raises(UsageError, match=next(iter(environment))) as caught:
            own_place(environment)
        assert "torchrun" in caught.value.fix
        assert len(caught.value.message) < 200

    check_each({**OTHERS, **LACKING}, check)


def test_what_cannot_be_shared_is_refused_by_name() -> None:
    def check(launcher: str) -> None:
        environment = SEVERAL[launcher]
        with pytest.raises(UsageError, match=next(iter(environment))) as caught:
            check_single_process(environment)
        assert "without torchrun" in caught.value.fix
        assert len(caught.value.message) < 200

    check_each(SEVERAL, check)


def test_one_process_is_fine_however_it_was_started() -> None:
    def check(environment: dict[str, str]) -> None:
        check_single_process(environment)
        assert own_place(environment) == ALONE

    check_each(SINGLE, check)


def test_the_process_asks_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    for ask in (check_single_process, own_place):
        with pytest.raises(UsageError, match="one of 2 processes"):
            ask()


def test_every_thing_is_in_one_part() -> None:
    for count in range(12):
        for size in (1, 2, 3, 8):
            parts = [list(Place(rank, size).part(count)) for rank in range(size)]
            assert [number for part in parts for number in part] == list(range(count))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_accelerates_switch_for_the_processor_holds_for_jobs_alone() -> None:
    """One process has never listened to it."""
    assert computes_on_processor({"ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2"})
    assert not computes_on_processor({"ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "1"})
    assert not computes_on_processor({"ACCELERATE_USE_CPU": "false", "WORLD_SIZE": "2"})
    assert not computes_on_processor({"WORLD_SIZE": "2"})
