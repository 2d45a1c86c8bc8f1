"""A scorer that looks at no picture twice."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clora_ext.errors import CheckpointError, writing
from clora_ext.formats.checkpoint import Checkpoint

from .scorer import Scorer

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CachedScorer", "picture_hash"]

_KEY = "vectors"


def picture_hash(picture: "Image") -> str:
    """sha256 over size and RGB values: the same picture in another file has the same."""
    plain = picture.convert("RGB")
    return sha256(f"{plain.width} {plain.height} ".encode() + plain.tobytes()).hexdigest()


class CachedScorer:
    """Another scorer, with the vectors that it has given, by picture.

    Attributes:
        scorer: that is asked.
        file: where the vectors lie from run to run; None: they end with the process. Its name should have
            the scorer's digest in it; a file of another scorer is not read.
    """

    def __init__(self, scorer: Scorer, file: Path | None = None) -> None:
        self.scorer, self.file = scorer, file
        self._known = {} if file is None else dict(_read(file, scorer.digest))

    @property
    def name(self) -> str:
        """Of the scorer that is asked."""
        return self.scorer.name

    @property
    def digest(self) -> str:
        """Likewise."""
        return self.scorer.digest

    def images(self, pictures: "Sequence[Image]") -> Tensor:
        """Unit vectors (n, width); the scorer is shown only what it has not seen."""
        hashes = [picture_hash(picture) for picture in pictures]
        new = {one: pic for one, pic in zip(hashes, pictures, strict=True) if one not in self._known}
        if new:
            self._known.update(zip(new, self.scorer.images(list(new.values())), strict=True))
        return torch.stack([self._known[one] for one in hashes])

    def save(self) -> None:
        """Write all vectors into the file, which is replaced as a whole.

        Raises:
            StorageError: the disk is full or refuses.
        """
        from safetensors.torch import save_file

        if self.file is None or not self._known:
            return
        partial = self.file.with_name(f"{self.file.name}.partial")
        hashes = "".join(sorted(self._known))
        vectors = torch.stack([self._known[one] for one in sorted(self._known)]).contiguous()
        with writing(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            save_file({_KEY: vectors}, partial, {"scorer": self.digest, "pictures": hashes})
            partial.replace(self.file)


def _read(file: Path, digest: str) -> Iterator[tuple[str, Tensor]]:
    """The vectors of a file, by picture; none where it is missing, damaged or another scorer's."""
    try:
        stored = Checkpoint(file)
        metadata, vectors = stored.header.metadata, stored.read_float(_KEY)
    except (CheckpointError, OSError, KeyError):
        return
    hashes = metadata.get("pictures", "")
    if metadata.get("scorer") == digest and len(hashes) == 64 * len(vectors):
        yield from ((hashes[64 * row : 64 * row + 64], vector) for row, vector in enumerate(vectors))
