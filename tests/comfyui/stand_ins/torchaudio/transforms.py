"""Found by its name; nothing in here works."""

from torchaudio import __getattr__

__all__ = ["__getattr__"]
