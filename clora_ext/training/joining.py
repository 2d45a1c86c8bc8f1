"""How a process finds its job: the store that its launcher opens, a GPU of its own, torch's group of all."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count

import torch
from torch.distributed import (  # type: ignore[attr-defined]  # torch names no exports there
    PrefixStore,
    Store,
    rendezvous,
)

from clora_ext.config.precision import pick_precision
from clora_ext.config.processes import Place
from clora_ext.errors import PeerFailed, UsageError

from .exchange import connect, is_connected
from .team import TO_COME, Team

__all__ = ["joined"]

_NUMBERS = count()  # of the jobs that this process has its part in, in the order in which all have them


@contextmanager
def joined(place: Place) -> Iterator[Team]:
    """The job that this process was started for, as torchrun or accelerate describe it in the environment.

    Raises:
        PeerFailed: the others do not come.
        UsageError: torch.distributed is in use already, or two processes share a GPU.
    """
    if is_connected():
        message = "torch.distributed is in use in this process already, and clora opens it by itself"
        raise UsageError(message, fix="call clora before it is, or after destroy_process_group()")
    name = _take_device(place)
    try:
        store = PrefixStore(f"clora/{next(_NUMBERS)}", _launchers_store())
    except RuntimeError as error:
        message = f"{place.words} does not find the others: {str(error)[:200]}"
        raise PeerFailed(message, fix="check MASTER_ADDR and MASTER_PORT of the launcher") from error
    team = Team(store, place)
    try:
        team.say(f"device/{place.rank}", name)
        team.arrive()
        with team.telling():
            _check_devices(team)
            _connect(PrefixStore("group", store), place)
            yield team
    finally:
        team.leave()
        team.close()
        if place.leads:
            team.wait_for_others()


@cache
def _launchers_store() -> Store:
    """The one store of all processes; where the first of them keeps it, it ends with that process."""
    found: tuple[Store, int, int] = next(rendezvous("env://", timeout=TO_COME))
    return found[0]


def _connect(store: Store, place: Place) -> None:
    """Open torch's group of all processes.

    Raises:
        PeerFailed: they do not reach each other.
    """
    try:
        connect(store, place, pick_precision().device)
    except RuntimeError as error:
        message = f"{place.words} cannot be connected with the others: {str(error)[:200]}"
        fix = "name a network interface that all machines share by GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
        raise PeerFailed(message, fix=fix) from error


def _take_device(place: Place) -> str:
    """Compute on this process's own GPU; gives its name in the world. Without one: on the processor."""
    if pick_precision().device.type != "cuda":
        return ""
    count = torch.cuda.device_count()
    # A cluster may show each process one GPU alone.
    number = place.local_rank if place.local_rank < count else 0
    torch.cuda.set_device(number)
    return f"{platform.node()} {getattr(torch.cuda.get_device_properties(number), 'uuid', number)}"


def _check_devices(team: Team) -> None:
    """Every process has a GPU of its own, or all have none.

    Raises:
        UsageError: two have the same.
    """
    owners: dict[str, int] = {}
    for rank in range(team.place.size):
        name = team.hear(f"device/{rank}")
        if name and name in owners:
            message = f"processes {owners[name] + 1} and {rank + 1} would compute on one GPU ({name})"
            raise UsageError(message, fix="start as many processes on a machine as it has GPUs")
        owners[name] = rank
