"""Every way of running out of memory is one error, and what had failed lets go of its tensors."""

import weakref
from collections.abc import Callable

import pytest
import torch
from cases import check_each

from clora_ext.config.memory import reporting_out_of_memory
from clora_ext.errors import OutOfMemory, StorageError


def by_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def by_processor() -> None:
    torch.empty(1 << 58)


def by_python() -> None:
    bytearray(1 << 62)


def by_cublas() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def by_apple() -> None:
    raise RuntimeError("MPS backend out of memory (MPS allocated: 17.99 GB)")


WAYS: tuple[Callable[[], None], ...] = (by_gpu, by_processor, by_python, by_cublas, by_apple)


def test_every_way_of_running_out_is_one_error_with_the_remedies() -> None:
    def check(run_out: Callable[[], None]) -> None:
        with (
            pytest.raises(OutOfMemory) as caught,
            reporting_out_of_memory("folding socks", ["--fewer-socks", "--one-sock"]),
        ):
            run_out()
        assert "out of memory while folding socks: " in caught.value.message
        assert "GiB in use of the machine's" in caught.value.message
        assert caught.value.fix.startswith("try --fewer-socks, --one-sock, in this order; or close other")

    check_each(WAYS, check)


def test_the_innermost_knows_what_was_being_done_and_the_outer_what_helps() -> None:
    with (
        pytest.raises(OutOfMemory, match="while drawing") as caught,
        reporting_out_of_memory("teaching", ["--resolution 64"]),
        reporting_out_of_memory("drawing"),
    ):
        by_gpu()
    assert caught.value.fix.startswith("try --resolution 64; or close")


def test_other_errors_pass() -> None:
    for error in (RuntimeError("shapes do not fit"), StorageError("the disk is full"), KeyError("x")):
        with pytest.raises(type(error)) as caught, reporting_out_of_memory("anything"):
            raise error
        assert caught.value is error


def test_tensors_of_what_failed_are_let_go() -> None:
    """Else the state could not be saved after it, nor ComfyUI go on."""
    seen: list[weakref.ref[torch.Tensor]] = []

    def compute() -> None:
        large = torch.ones(1000)
        seen.append(weakref.ref(large))
        by_gpu()

    with pytest.raises(OutOfMemory) as caught, reporting_out_of_memory("computing"):
        compute()
    assert seen[0]() is None
    assert caught.value.__cause__ is not None
