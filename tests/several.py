"""Several processes that train one adapter: forked as a launcher starts them, or by torchrun itself."""

import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from forked import finished, in_child
from safetensors.torch import load_file
from small_runs import stop_at

from clora_ext import Project, Request, add_concept, follow
from clora_ext.events import Event, ignore
from clora_ext.formats.training_state import STATE_FILE

__all__ = [
    "Launched",
    "distance",
    "free_port",
    "launch",
    "start_together",
    "state",
    "stopped_together",
    "together",
]

Sink = Callable[[Event], None]


def free_port() -> int:
    """One that nobody listens at just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start_together(
    request: Request,
    sinks: Mapping[int, Sink] | None = None,
    *,
    size: int = 2,
    seen: Path,
    others: Request | None = None,
    then: Request | None = None,
) -> list[int]:
    """Fork a job of so many processes; gives their ids by rank.

    Args:
        request: what they teach.
        sinks: by rank; else events are ignored.
        size: how many they are.
        seen: folder in which each process that was there leaves a file with what it raised.
        others: what all but the first think that they teach; None: the same.
        then: what they teach afterwards.
    """
    port = free_port()

    def work(rank: int) -> None:
        os.environ.update(
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        )
        said, sink = "", (sinks or {}).get(rank, ignore)
        try:
            for one in (request, *([then] if then else [])):
                if rank:
                    follow(others or one, sink)
                else:
                    add_concept(one, sink)
        except BaseException as error:
            said = "".join(traceback.format_exception(error))
            raise
        finally:
            (seen / f"{rank}.txt").write_text(said, encoding="utf-8")

    return [in_child(lambda rank=rank: work(rank)) for rank in range(size)]  # type: ignore[misc]  # mypy: a default


def together(
    request: Request,
    sinks: Mapping[int, Sink] | None = None,
    *,
    size: int = 2,
    others: Request | None = None,
    then: Request | None = None,
) -> list[str]:
    """Run a job to its end; what each process raised, by rank: empty if nothing."""
    seen = request.project.parent / f"said-{time.monotonic_ns()}"
    seen.mkdir()
    children = start_together(request, sinks, size=size, seen=seen, others=others, then=then)
    statuses = [finished(child) for child in children]
    said = [(seen / f"{rank}.txt").read_text(encoding="utf-8") for rank in range(size)]
    assert [bool(text) for text in said] == [bool(status) for status in statuses]
    return said


def state(request: Request) -> Path:
    """What a stopped run has left."""
    return Project.begun(request.project).training_dir / STATE_FILE


def distance(one: Request, other: Request) -> float:
    """Of what two stopped runs have learned so far, relative to it."""
    first, second = load_file(state(one)), load_file(state(other))
    names = [
        name for name in first if "::" in name and not name.startswith(("optimizer", "average", "valid"))
    ]
    assert names
    off = torch.stack([(first[name] - second[name]).double().square().sum() for name in names]).sum()
    return float((off / torch.stack([first[name].double().square().sum() for name in names]).sum()).sqrt())


def stopped_together(request: Request, step: int, *, by: int = 0, size: int = 2) -> None:
    """Several, after a step at which one of them is asked to stop."""
    said = together(request, {by: stop_at(step)}, size=size)
    assert f"Cancelled: stopped at step {step} of" in said[0], said[0]
    assert all("ToldElsewhere" in one for one in said[1:]), said[1:]


@dataclass
class Launched:
    """A command that torchrun has started several times.

    Attributes:
        process: torchrun's.
        log: what all have written.
        workers: of the processes that were seen at work, by rank.
    """

    process: "subprocess.Popen[bytes]"
    log: Path
    workers: dict[int, psutil.Process] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What was written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def look(self) -> None:
        """See who is at work."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        for child in children:
            with suppress(psutil.Error):  # it has just ended
                variables = child.environ()
                if "LOCAL_RANK" in variables and "clora_ext.cli" in child.cmdline():
                    self.workers[int(variables["RANK"])] = child

    def wait_for(self, text: str, seconds: float = 300) -> None:
        """Until it was written."""
        end = time.monotonic() + seconds
        while text not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < end, self.text
            self.look()
            time.sleep(0.1)

    def end(self, seconds: float = 300) -> int:
        """Wait for all of them; gives torchrun's exit code."""
        until = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < until, self.text
            self.look()
            time.sleep(0.1)
        return self.process.returncode


def launch(arguments: Sequence[object], folder: Path, size: int = 2) -> Launched:
    """Start `clora` by torchrun in a folder."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    command += ["-m", "clora_ext.cli", *map(str, arguments)]
    log = folder / f"log-{time.monotonic_ns()}.txt"
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=variables
        )
    return Launched(process, log)
