"""A checkpoint that is hashed while it is read: whoever loads the model in it need not read it once more."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from torch import Tensor

from clora_ext.adapters.scratch import Scratch

from .checkpoint import Checkpoint, content_hash
from .header import Header
from .spans import Span
from .stored import raw
from .threads import workers

__all__ = ["HashedReading", "hashed_reading"]

_MOST_WAITING = 8  # tensors that are read and not hashed yet: they stay in memory until they are


@dataclass(frozen=True)
class HashedReading(Checkpoint):
    """A checkpoint that keeps the hashes of what is read of it; made by :func:`hashed_reading`.

    A tensor that :meth:`read` gives must not be changed in place before :meth:`content_hash`.

    Attributes:
        whole: what is read; what it borrows of other files is not hashed.
        pool: of the threads that hash.
    """

    whole: Checkpoint = field(kw_only=True)
    pool: Executor = field(kw_only=True, repr=False, compare=False)
    _jobs: dict[str, "Future[str]"] = field(default_factory=dict, init=False, repr=False, compare=False)
    _waiting: list["Future[str]"] = field(default_factory=list, init=False, repr=False, compare=False)

    @cached_property
    def header(self) -> Header:
        """The checked header."""
        return self.whole.header

    @property
    def own_names(self) -> tuple[str, ...]:
        """Names of the tensors that are not borrowed."""
        return self.whole.own_names

    @cached_property
    def _own(self) -> frozenset[str]:
        return frozenset(self.own_names)

    def spans(self, name: str) -> Sequence[Span] | None:
        """Where the tensor's bytes lie, in order; None: nowhere as they are."""
        return self.whole.spans(name)

    def read(self, name: str, scratch: Scratch | None = None) -> Tensor:
        """The tensor in its own dtype, always in memory of its own: it is hashed while others are read."""
        tensor = self.whole.read(name)
        if name not in self._jobs and name in self._own:
            self._waiting[:] = [job for job in self._waiting if not job.done()]
            if len(self._waiting) >= _MOST_WAITING:
                self._waiting[0].result()
            self._jobs[name] = self.pool.submit(lambda: sha256(raw(tensor)).hexdigest())
            self._waiting.append(self._jobs[name])
        return tensor

    def content_hash(self) -> str:
        """As :func:`clora_ext.formats.checkpoint.content_hash`; what has not been read yet is read now."""
        return content_hash(self, {name: job.result() for name, job in self._jobs.items()})


@contextmanager
def hashed_reading(whole: Checkpoint) -> Iterator[HashedReading]:
    """The checkpoint, for as long as it is read and asked for its hash."""
    with workers() as pool:
        yield HashedReading(whole.path, whole=whole, pool=pool)
