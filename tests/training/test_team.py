"""Processes that meet: all go on, or all stop; who has ended is noticed, on this machine and on another."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forked import finished, in_child
from several import free_port
from torch import nn
from torch.distributed import HashStore, TCPStore

from clora_ext.config.processes import Place
from clora_ext.errors import Cancelled, OutOfMemory, PeerFailed
from clora_ext.training import watch
from clora_ext.training.exchange import average, connect, disconnect, take_from_first
from clora_ext.training.team import Team
from clora_ext.training.watch import Watch, introduce

SIZE = 3


def each(work: Callable[[Team], object], size: int = SIZE) -> list[object]:
    """What each of so many members gives or raises, in threads that share a store."""
    store, found = HashStore(), list[object]([None] * size)

    def member(rank: int) -> None:
        try:
            found[rank] = work(Team(store, Place(rank, size)))
        except Exception as error:  # noqa: BLE001 - the test asks which
            found[rank] = error

    threads = [threading.Thread(target=member, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def test_all_wait_for_the_last() -> None:
    def work(team: Team) -> float:
        if team.place.rank == 1:
            time.sleep(0.3)
        came = time.monotonic()
        for _ in range(5):
            team.meet()
        return came

    came = each(work)
    assert all(isinstance(one, float) for one in came)


def test_who_is_stopped_stops_all_at_the_same_meeting() -> None:
    def work(team: Team) -> int:
        for number in range(5):
            with team.telling():
                if (team.place.rank, number) == (2, 3):
                    raise Cancelled
                team.meet()
        return number

    assert [type(one) for one in each(work)] == [Cancelled] * SIZE


def test_who_fails_is_quoted_by_the_others() -> None:
    def work(team: Team) -> None:
        with team.telling():
            if team.place.rank == 1:
                raise OutOfMemory("out of memory while training step 3", fix="try --batch-size 1")
            team.meet()

    first, second, third = each(work)
    assert isinstance(second, OutOfMemory)
    for other in (first, third):
        assert isinstance(other, PeerFailed)
        assert other.message == "process 2 of 3: out of memory while training step 3"
        assert other.fix == "try --batch-size 1"


def test_who_finds_another_state_does_not_begin() -> None:
    found = each(lambda team: team.begin({}, step=4 if team.place.rank == 1 else 3))
    assert isinstance(found[1], PeerFailed)
    assert found[1].message == "process 2 of 3 would begin at step 4, the first at 3"


def looked_after(store: HashStore, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The first process's watch, which looks often."""
    monkeypatch.setattr(watch, "_EVERY", 0.02)
    monkeypatch.setattr(watch, "_SILENT", 0.5)
    introduce(store, Place(0, 2))
    found = Watch(store, Place(0, 2))
    found.start()
    return found


def test_a_process_of_this_machine_that_has_ended_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = HashStore(), subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    introduce(store, Place(1, 2))
    store.set("who/1", bytes(store.get("who/1")).replace(str(os.getpid()).encode(), str(other.pid).encode()))
    looking = looked_after(store, monkeypatch)
    assert not looking.wait_for_verdict(1.0)  # it says nothing, and lives
    other.kill()
    other.communicate()
    assert looking.wait_for_verdict(10).startswith(f"process 2 of 2 (number {other.pid} on ")
    looking.stop()


def test_a_process_of_another_machine_has_ended_when_it_counts_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = HashStore()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(watch, "_machine", lambda: "elsewhere")
        introduce(store, Place(1, 2))
    looking = looked_after(store, monkeypatch)
    for count in range(10):
        store.set("alive/1", str(count))
        assert not looking.wait_for_verdict(0.1)
    assert looking.wait_for_verdict(10).startswith("process 2 of 2 (number ")
    looking.stop()


def test_a_process_that_has_closed_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    store = HashStore()
    introduce(store, Place(1, 2))
    looking = looked_after(store, monkeypatch)
    assert not looking.lost
    Team(store, Place(1, 2)).close()
    assert looking.wait_for_verdict(10)
    looking.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore")  # of forking
def test_gradients_are_the_mean_of_all_and_values_the_first_ones(tmp_path: Path) -> None:
    """Who has a gradient nowhere keeps none: an optimiser leaves such a parameter alone."""
    port = free_port()

    def work(rank: int) -> None:
        store = TCPStore("127.0.0.1", port, 2, rank == 0)
        connect(store, Place(rank, 2), torch.device("cpu"))
        everywhere, once, nowhere = (nn.Parameter(torch.full((2, 3), 1.0 + rank)) for _ in range(3))
        take_from_first([everywhere, once, nowhere])
        everywhere.grad = torch.full((2, 3), 1.0 + 2 * rank)
        if rank:
            once.grad = torch.arange(6.0).view(2, 3)
        loss = average([everywhere, once, nowhere], torch.tensor(3.0 + rank), 2)
        disconnect()
        assert nowhere.grad is None
        torch.save([everywhere.detach(), everywhere.grad, once.grad, loss], tmp_path / f"{rank}.pt")

    children = [in_child(lambda rank=rank: work(rank)) for rank in range(2)]  # type: ignore[misc]  # mypy: a default
    assert [finished(child) for child in children] == [0, 0]
    for rank in range(2):
        value, common, single, loss = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(value, torch.ones(2, 3))
        assert torch.equal(common, torch.full((2, 3), 2.0))
        assert torch.equal(single, torch.arange(6.0).view(2, 3) / 2)
        assert loss == 3.5
