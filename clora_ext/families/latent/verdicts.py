"""Which headers were found to load: building a model's modules takes seconds, and the answer stays the same.

Needs no torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from clora_ext.formats.header import Header
from clora_ext.formats.user_cache import read_cached, write_cached
from clora_ext.version import VERSION

__all__ = ["Verdict"]

_FILE = "loadable.json"
_MOST = 256
_LIBRARIES = ("diffusers", "transformers")  # which decide what the modules look like


@dataclass(frozen=True, slots=True)
class Verdict:
    """That a checkpoint loads, or that nobody knows yet.

    Attributes:
        key: sha256 of all that it depends on, in hex.
    """

    key: str

    @classmethod
    def of(cls, header: Header, config: Mapping[str, Any]) -> "Verdict":
        """Of a checkpoint with this header, read by this configuration."""
        tensors = sorted((name, info.dtype, info.shape) for name, info in header.tensors.items())
        versions = [VERSION, *map(version, _LIBRARIES)]
        text = json.dumps([versions, config, tensors], sort_keys=True, default=str)
        return cls(sha256(text.encode("utf-8", "surrogatepass")).hexdigest())

    def is_known(self) -> bool:
        """Whether it was found to load."""
        return self.key in _known()

    def remember(self) -> None:
        """It loads."""
        write_cached(_FILE, [*(key for key in _known() if key != self.key), self.key][-_MOST:])


def _known() -> list[str]:
    """The keys, the newest last."""
    content = read_cached(_FILE)
    return [key for key in content if isinstance(key, str)] if isinstance(content, list) else []
