"""What text encoders say of a training's texts, kept by text, so that they may leave."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from clora_ext.errors import StorageError
from clora_ext.events import Sink, Stage
from clora_ext.formats.text import counted, quoted

from .kept_encodings import Encodings, KeptEncodings
from .text_reading import TextReading

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.config.precision import Precision
    from clora_ext.families.model import Model

__all__ = ["TextsInMemory", "TextsOnDisk", "read_texts"]

_EVERY = 10.0  # seconds after which it is told how far it has come


class TextsInMemory:
    """On the processor, as :func:`clora_ext.config.precision.to_keep` has it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Tensor, ...]] = {}

    def of(self, text: str, ask: "Callable[[], tuple[Tensor, ...]]") -> "tuple[Tensor, ...]":
        """See :meth:`clora_ext.families.said.TextStates.of`."""
        from clora_ext.config.precision import to_keep

        if text not in self._known:
            self._known[text] = tuple(map(to_keep, ask()))
        return self._known[text]


class TextsOnDisk:
    """In the folder of kept encodings, where a later run finds them again.

    Args:
        encodings: of the run, whose text encoders are there.
    """

    def __init__(self, encodings: KeptEncodings) -> None:
        self._encodings = encodings
        self._read: set[str] = set()

    def of(self, text: str, ask: "Callable[[], tuple[Tensor, ...]]") -> "tuple[Tensor, ...]":
        """See :meth:`clora_ext.families.said.TextStates.of`.

        Raises:
            StorageError: it was there, and is no more.
        """
        from clora_ext.config.precision import to_keep

        def compute() -> "tuple[Tensor, ...]":
            if text in self._read:
                message = (
                    f"what the text encoder gave for {quoted(text)} is gone from the folder of --cache-dir"
                )
                raise StorageError(
                    message, fix="run the same command again: it goes on from where it was saved"
                )
            return tuple(map(to_keep, ask()))

        found = self._encodings.said(text, compute)
        self._read.add(text)
        return found


def read_texts(
    reading: TextReading, model: "Model", encodings: Encodings, precision: "Precision", sink: Sink
) -> None:
    """Have the model read each of the training's texts once, just as a step would, and know it from then on.

    Args:
        reading: what is read, and where it is kept; nothing is, where it is not kept by text.
        model: with its text encoders.
        encodings: of the run.
        precision: in which a step computes.
        sink: told how far it has come; may raise Cancelled.
    """
    import torch

    from clora_ext.families.model import SizeConditioning

    if not reading.texts:
        return
    sink(Stage("encode", counted(len(reading.texts), "text")))
    if reading.kept == "disk" and isinstance(encodings, KeptEncodings):
        model.keep_texts(TextsOnDisk(encodings))
    else:
        model.keep_texts(TextsInMemory())
    told, any_cut = time.monotonic(), SizeConditioning((1, 1), (0, 0), (1, 1))
    with torch.no_grad(), precision.autocast():
        for number, text in enumerate(reading.texts):
            if time.monotonic() - told >= _EVERY:
                told = time.monotonic()
                sink(Stage("encode", f"texts: {number} of {len(reading.texts)}"))
            model.condition([text], [any_cut])
