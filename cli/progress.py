"""What a run is doing: a live line on a terminal, now and then a plain line anywhere else."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from clora_ext.events import (
    Event,
    FoldStep,
    Note,
    Preview,
    Sampled,
    SampleStep,
    Sink,
    Stage,
    TrainStep,
    Validated,
)

from .output import tick
from .wording import duration, printable, size

__all__ = ["Course", "live", "plain", "shown"]

DOING = {
    "encode": "preparing",
    "train": "training",
    "measure": "measuring",
    "extract": "extracting",
    "fold": "folding",
    "verify": "verifying",
    "sample": "drawing",
    "commit": "saving",
    "export": "exporting",
}
"""What people read for an event's stage."""

_EVERY = 10.0
_RECENT = 20
_MINUTE = 60
_WIDEST_BAR = 40
_NARROWEST_BAR = 8


@dataclass(slots=True)
class Course:
    """How far a run has come, learned from its events.

    Attributes:
        clock: seconds that only ever grow.
        stage: what is being done now; empty before the first stage.
        detail: of the stage, a few words.
        done: steps of this stage.
        total: all steps of this stage; 0 when they are not counted.
        memory_bytes: peak memory, 0 when unknown.
    """

    clock: Callable[[], float] = time.monotonic
    stage: str = ""
    detail: str = ""
    done: int = 0
    total: int = 0
    memory_bytes: int = 0
    _since: float = 0.0
    _spinner: Spinner = field(default_factory=lambda: Spinner("line"))
    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def begin(self, stage: Stage) -> None:
        """Another stage has begun."""
        self.stage, self.detail = DOING.get(stage.name, stage.name), stage.detail
        self.done = self.total = self.memory_bytes = 0
        self._since = self.clock()
        self._losses.clear()
        self._seconds.clear()

    def advance(self, step: TrainStep | FoldStep | SampleStep) -> None:
        """One more step of this stage is done."""
        if not isinstance(step, TrainStep):
            self.done, self.total = step.done, step.total
            return
        self.done, self.total, self.memory_bytes = step.step, step.total, step.memory_bytes
        self._losses.append(step.loss)
        self._seconds.append(step.seconds)

    @property
    def title(self) -> str:
        """The stage with its detail."""
        return f"{self.stage} {printable(self.detail)}".strip()

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began."""
        return self.clock() - self._since

    @property
    def facts(self) -> list[str]:
        """What is known, the most important first. Loss and speed are means of the last 20 steps."""
        facts = [f"{self.done}/{self.total}"] if self.total else []
        if self._seconds:
            speed = fmean(self._seconds)
            facts += [
                f"loss {fmean(self._losses):.4f}",
                f"{duration(speed * (self.total - self.done))} left",
                f"{speed:.2f} s/step",
            ]
        if self.memory_bytes:
            facts.append(size(self.memory_bytes))
        return facts

    @property
    def summary(self) -> str:
        """How long the stage took and how it ended, once it is over."""
        took = f"{self.elapsed:.1f} s" if self.elapsed < _MINUTE else duration(self.elapsed)
        return f"{took}, loss {fmean(self._losses):.4f}" if self._losses else took

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line that fits: facts go from the least important on, then the bar."""
        del console
        if not self.total:
            self._spinner.update(text=Text(self.title, "bold", no_wrap=True, overflow="ellipsis"))
            yield self._spinner
            return
        head = Text(f"{self.stage}  ", "bold", no_wrap=True)
        facts = self.facts
        while len(facts) > 1 and len(head) + len("  ".join(facts)) > options.max_width:
            facts.pop()
        text = Text("  ".join(facts), no_wrap=True, overflow="ellipsis")
        room = options.max_width - len(head) - len(text) - 2
        line = Table.grid()
        if room < _NARROWEST_BAR:
            line.add_row(head, text)
        else:
            bar = ProgressBar(total=self.total, completed=self.done, width=min(room, _WIDEST_BAR))
            line.add_row(head, bar, "  ", text)
        yield line


@contextmanager
def shown(console: Console) -> Iterator[Sink]:
    """A sink that shows what happens on ``console``, in the way that it can show it."""
    if console.is_terminal and not console.is_dumb_terminal:
        with live(console) as sink:
            yield sink
    else:
        yield plain(console)


@contextmanager
def live(console: Console) -> Iterator[Sink]:
    """A sink with one line that keeps changing; each stage leaves a line behind."""
    course = Course()
    window = Live(course, console=console, refresh_per_second=8, transient=True)

    def leave() -> None:
        if course.stage:
            console.print(Text.assemble(tick(console), f"{course.title}  ", (course.summary, "dim")))

    def see(event: Event) -> None:
        if isinstance(event, Stage):
            leave()
            course.begin(event)
            window.start(refresh=True)
        elif isinstance(event, (TrainStep, FoldStep, SampleStep)):
            course.advance(event)
        else:
            _tell(console, event)

    # The line appears with the first stage: until then, other text may go to the same terminal.
    try:
        yield see
        leave()
    finally:
        window.stop()


def plain(console: Console, clock: Callable[[], float] = time.monotonic) -> Sink:
    """A sink that writes a line for every stage, and one every ten seconds while it lasts."""
    course = Course(clock)
    shown_at = clock()

    def see(event: Event) -> None:
        nonlocal shown_at
        if isinstance(event, Stage):
            course.begin(event)
            shown_at = clock()
            console.print(course.title, soft_wrap=True)
        elif isinstance(event, (TrainStep, FoldStep, SampleStep)):
            course.advance(event)
            if clock() - shown_at >= _EVERY or (isinstance(event, TrainStep) and event.step == event.total):
                shown_at = clock()
                console.print(f"{course.stage}: {', '.join(course.facts)}", soft_wrap=True)
        else:
            _tell(console, event)

    return see


def _tell(console: Console, event: Note | Preview | Sampled | Validated) -> None:
    """A line of its own for whatever is not a step."""
    if isinstance(event, Validated):
        best = ", the lowest so far" if event.is_lowest else ""
        text = f"validation loss {event.loss:.4f} after step {event.step}{best}"
    else:
        text = event.text if isinstance(event, Note) else f"drew {event.path}"
    console.print(printable(text), soft_wrap=True)
