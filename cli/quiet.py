"""Other libraries' remarks on themselves: nothing that a user of clora could act on."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

_VARIABLES = ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY")


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out warnings of libraries, unless the user asked for them (python -W, or these variables)."""
    for name in _VARIABLES:
        os.environ.setdefault(name, "error")
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        yield
