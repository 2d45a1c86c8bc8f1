"""What text encoders have said of texts that are asked about again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

__all__ = ["Said"]

_MOST = 32  # of SDXL half a megabyte each


class Said:
    """What encoders have said of the last few texts, which they would say again while they do not change."""

    def __init__(self) -> None:
        self._known: dict[object, tuple[Tensor, ...]] | None = None

    @contextmanager
    def once(self) -> Iterator[None]:
        """While it is entered, whoever asks again is given the same tensors."""
        self._known = {}
        try:
            yield
        finally:
            self._known = None

    def of(self, key: object, ask: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What is said of the texts that ``key`` stands for."""
        if self._known is None:
            return ask()
        if key not in self._known:
            self._known = dict([*self._known.items(), (key, ask())][-_MOST:])
        return self._known[key]
