"""A program, run as it is, that also writes when each of its optimiser's steps was done.

python timed_steps.py TIMES FILE ARGUMENT...

TIMES gets a line of JSON for each step: CPU seconds of the process, all threads, seconds by the clock, both
since the process began, and bytes that it has read (Linux; what is mapped into memory is not counted); and
one for its end.
"""

import json
import runpy
import sys
import time
from pathlib import Path

BEGAN = time.time() - time.process_time()  # near enough: what came before was computing, not waiting


def bytes_read() -> int:
    """By calls to the system, so far."""
    counts = Path("/proc/self/io")
    return int(counts.read_text(encoding="ascii").split()[1]) if counts.is_file() else 0


def main(times: Path, program: list[str]) -> None:
    """Run the program under its own arguments."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    with times.open("w", encoding="ascii") as file:

        def note(*_: object) -> None:
            file.write(json.dumps([time.process_time(), time.time() - BEGAN, bytes_read()]) + "\n")
            file.flush()

        register_optimizer_step_post_hook(note)
        try:
            sys.argv = program
            sys.path.insert(0, str(Path(program[0]).parent))
            runpy.run_path(program[0], run_name="__main__")
        finally:
            note()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
