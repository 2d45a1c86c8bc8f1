"""What text encoders have said of texts that are asked about again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from clora_ext.config.precision import to_device

__all__ = ["Said", "TextStates"]

_MOST = 32  # of SDXL half a megabyte each


class TextStates(Protocol):
    """What text encoders say of texts, kept for as long as they do not change."""

    def of(self, text: str, ask: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What they say of one text, on the processor.

        Args:
            text: as it is read.
            ask: them; not called for what is kept.
        """
        ...


class Said:
    """What encoders have said of the last few texts, or of all, which they would say again."""

    def __init__(self) -> None:
        self._known: dict[object, tuple[Tensor, ...]] | None = None
        self._kept: tuple[TextStates, torch.device] | None = None

    @contextmanager
    def once(self) -> Iterator[None]:
        """While it is entered, whoever asks again is given the same tensors."""
        self._known = {}
        try:
            yield
        finally:
            self._known = None

    def keep(self, states: TextStates, device: torch.device) -> None:
        """From now on read each text alone, and once: what is said of it is kept there.

        Args:
            states: of one way of reading.
            device: where whoever asks is given them.
        """
        self._kept = states, device

    def of(
        self, how: object, texts: Sequence[str], ask: Callable[[Sequence[str]], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """What is said of the texts.

        Args:
            how: they are read.
            texts: that are read at once.
            ask: the encoders; the first dimension of each tensor counts texts.
        """
        if self._kept is not None:
            states, device = self._kept
            each = [states.of(text, partial(ask, [text])) for text in texts]
            return tuple(to_device(torch.cat(parts), device) for parts in zip(*each, strict=True))
        if self._known is None:
            return ask(texts)
        key = (how, *texts)
        if key not in self._known:
            self._known = dict([*self._known.items(), (key, ask(texts))][-_MOST:])
        return self._known[key]
