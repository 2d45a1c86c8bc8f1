"""Several processes that train one adapter: they agree before every step, and share their gradients.

They agree by a store of a few words (torch's, that launchers open), where waiting can be ended at any time.
Only when all have come do they enter a collective operation, where it cannot: so nobody waits there for a
process that has ended.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import Store  # type: ignore[attr-defined]  # torch names no exports there

from clora_ext.config.processes import Place
from clora_ext.errors import Cancelled, CloraError, PeerFailed

from .exchange import average, disconnect, is_of_exchange, take_from_first, told_by_first
from .watch import Watch, introduce

__all__ = ["TO_COME", "Team"]

TO_COME = timedelta(minutes=10)
"""Until all have begun."""

_LONGEST_PAUSE = 0.01  # seconds
_TO_PRINT = 1.0  # seconds
_TO_HEAR = 3.0  # seconds
_TO_NOTICE = 5.0  # seconds
_AGAIN = (
    "what it said itself, or the system (dmesg, if memory ran out), tells why; the same command goes on from "
    "the last step that was saved"
)


class Team:
    """This process among those of a job; made by :func:`clora_ext.training.joining.joined`.

    Attributes:
        place: of this one.
    """

    def __init__(self, store: Store, place: Place) -> None:
        self.place = place
        self._store = store
        self._watch: Watch | None = None
        self._meetings = 0
        self._is_over = False

    def arrive(self) -> None:
        """Wait until all are there, and look after them from now on."""
        introduce(self._store, self.place)
        self.meet()
        self._watch = Watch(self._store, self.place)
        self._watch.start()

    def say(self, what: str, text: str) -> None:
        """Leave a text for those who :meth:`hear` it."""
        self._store.set(f"text/{what}", text)

    def hear(self, what: str) -> str:
        """A text that another process has left before both have met."""
        return str(self._store.get(f"text/{what}"), "utf-8")

    def meet(self) -> None:
        """Wait for all others; give up where one of them does.

        Raises:
            Cancelled: the user has stopped one of them.
            PeerFailed: one has failed, or has ended.
        """
        cancelled, failed = self._come(0, 0)
        if failed:
            self._is_over = True
            raise self._told()
        if cancelled:
            self._is_over = True
            raise Cancelled

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Whatever ends what is done in it is told to the others, who stop at their next meeting."""
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            self.tell(error)
            raise

    def tell(self, error: BaseException) -> None:
        """The others, of what ends this process's part; unless they are why, or the job is over."""
        if self._is_over:
            return
        self._is_over = True
        message, fix = f"{type(error).__name__}: {error}", ""
        if isinstance(error, CloraError):
            message, fix = error.message, error.fix
        is_cancelled = isinstance(error, (Cancelled, KeyboardInterrupt))
        with suppress(RuntimeError, PeerFailed):
            self._store.set(f"failed/{self.place.rank}", json.dumps([message, fix]))
            self._come(int(is_cancelled), int(not is_cancelled))

    def go_in_step(self) -> None:
        """From now on all processes make the same passes through the network."""
        self.place = replace(self.place, in_step=True)

    def part(self) -> None:
        """Meet for the last time: from now on each goes its own way."""
        self.meet()
        self._is_over = True
        self.leave()

    def leave(self) -> None:
        """Give back what the job has opened."""
        if self._watch is not None:
            self._watch.stop()
        disconnect()

    def close(self) -> None:
        """Let the others know that this process says no more."""
        with suppress(RuntimeError):
            self._store.set(f"closed/{self.place.rank}", "1")

    def wait_for_first(self, seconds: float) -> bool:
        """Wait until the first process has said everything: a launcher ends it after the first that ends.

        Returns:
            Whether it has: it may have been ended, too.
        """
        said = self._is_closed((0,), seconds)
        self.leave()
        self.close()
        time.sleep(_TO_PRINT)
        return said

    def wait_for_others(self) -> None:
        """Give the others a moment to hear that this process says no more: with it, the store may end."""
        others = () if self._watch is not None and self._watch.lost else range(1, self.place.size)
        self._is_closed(others, _TO_HEAR)

    def _is_closed(self, ranks: Iterable[int], seconds: float) -> bool:
        """Wait until these say no more; gives whether they have said so."""
        end, keys = time.monotonic() + seconds, [f"closed/{rank}" for rank in ranks]
        with suppress(RuntimeError):
            while keys and not self._store.check(keys):
                if time.monotonic() > end or (self._watch is not None and self._watch.lost):
                    return self._store.check(keys)
                time.sleep(0.02)
            return True
        return False

    def take_answer(self, answer: bool) -> bool:  # noqa: FBT001 - the answer itself
        """The first process's answer, whatever this one's is.

        Raises:
            Cancelled, PeerFailed: as :meth:`meet`.
        """
        if self.place.leads:
            self.say("answer", str(int(answer)))
        self.meet()
        return self.hear("answer") == "1"

    def hear_first(self, value: object) -> Any:  # noqa: ANN401 - whatever the first process tells
        """What the first process tells all; see :func:`clora_ext.training.exchange.told_by_first`.

        Raises:
            Cancelled, PeerFailed: as :meth:`meet`.
        """
        self.meet()
        with self._reporting_lost():
            return told_by_first(value)

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """While it is entered, all make the same passes through the network, which none can finish alone.

        Raises:
            PeerFailed: another process has ended, or has said that it cannot go on.
        """
        try:
            yield
        except RuntimeError as error:
            lost = "" if self._watch is None else self._watch.wait_for_verdict(_TO_NOTICE)
            if not lost and not is_of_exchange(error):
                raise
            self._is_over = True
            raise (self._gone(lost, f"{error}") if lost else self._told()) from error

    def begin(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Let all begin with the first process's values, at its step.

        Raises:
            PeerFailed: this one has found another state of the training.
        """
        if self.place.leads:
            self.say("step", str(step))
        self.meet()
        if int(self.hear("step")) != step:
            message = f"{self.place.words} would begin at step {step}, the first at {self.hear('step')}"
            fix = "all processes have to see one and the same project: name a folder that all machines share"
            raise PeerFailed(message, fix=fix)
        with self._reporting_lost():
            take_from_first(list(parameters.values()))

    def average(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Put the mean of all processes' gradients in the place of this one's; give the mean of their losses.

        They are added up in the order of their ranks, so that all have the same, in every run.

        Args:
            parameters: in the same order everywhere; who has no gradient anywhere keeps none.
            loss: a scalar.

        Raises:
            Cancelled, PeerFailed: as :meth:`meet`.
        """
        if loss.is_cuda:  # what one has not computed yet, the others would wait for where nothing ends it
            torch.cuda.current_stream().synchronize()
        self.meet()
        with self._reporting_lost():
            return average(parameters, loss, self.place.size)

    def _come(self, cancelled: int, failed: int) -> tuple[int, int]:
        """To the next meeting, with what this process has to say; gives how many have said so."""
        name, before = f"meeting/{self._meetings}", f"meeting/{self._meetings - 1}"
        self._meetings += 1
        bits = max(8, self.place.size.bit_length())
        said = self._store.add(name, 1 + (cancelled << bits) + (failed << 2 * bits))
        here = said & ((1 << bits) - 1)
        if here == self.place.size:
            self._store.set(f"{name}/all", str(said))
        self._wait(f"{name}/all")
        heard = int(self._store.get(f"{name}/all")) >> bits
        if self.place.leads and self._meetings > 1:  # all have left that one
            self._store.delete_key(before)
            self._store.delete_key(f"{before}/all")
        return heard & ((1 << bits) - 1), heard >> bits

    def _wait(self, key: str) -> None:
        """Until the key is there, as long as all others run; until they are known to, for some minutes."""
        pause, began = 0.0001, time.monotonic()
        with self._reporting_lost():
            while not self._store.check([key]):
                late = self._watch is None and time.monotonic() - began > TO_COME.total_seconds()
                lost = "another process" if late else self._watch.lost if self._watch else ""
                # Who sees all come may end before this one looks again.
                if lost and not self._store.check([key]):
                    raise self._gone(lost)
                time.sleep(pause)
                pause = min(1.2 * pause, _LONGEST_PAUSE)

    def _told(self) -> PeerFailed:
        """What the first of those who failed has said."""
        for rank in range(self.place.size):
            key = f"failed/{rank}"
            if rank != self.place.rank and self._store.check([key]):
                message, fix = json.loads(self._store.get(key))
                return PeerFailed(f"{Place(rank, self.place.size).words}: {message}", fix=fix)
        return self._gone("another process")

    @contextmanager
    def _reporting_lost(self) -> Iterator[None]:
        """What torch says of a process that has ended in the middle, in words."""
        try:
            yield
        except RuntimeError as error:
            lost = "" if self._watch is None else self._watch.wait_for_verdict(_TO_NOTICE)
            raise self._gone(lost or "another process", f"{error}") from error

    def _gone(self, who: str, what: str = "") -> PeerFailed:
        self._is_over = True
        because = next(iter(what.strip().splitlines()), "")
        return PeerFailed(
            f"{who} has ended or cannot be reached, so {self.place.words} stops too"
            f"{f' ({because:.200})' if because else ''}",
            fix=_AGAIN,
        )
