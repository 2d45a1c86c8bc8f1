"""Not torchaudio: a stand-in by its name, for a ComfyUI whose torch has no torchaudio that fits.

ComfyUI imports it whether or not a graph has sound in it. Everything is found in here, and nothing works.
"""

from typing import Any, NoReturn

__version__ = "0"


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        message = f"the stand-in for torchaudio has no {name}"
        raise AttributeError(message)

    def missing(*args: Any, **options: Any) -> NoReturn:
        message = f"{name} needs torchaudio, and this is a stand-in for it; install the real one"
        raise NotImplementedError(message)

    return missing
