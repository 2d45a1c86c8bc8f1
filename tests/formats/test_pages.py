"""Memory that is given back when a model is freed (:mod:`clora_ext.formats.pages`)."""

import platform
import subprocess
import sys

import pytest

_COUNT, _MIB = 60, 4
_MEASURE = f"""
import gc, psutil, torch
from contextlib import nullcontext
from clora_ext.formats.pages import release_on_free

def held():
    return psutil.Process().memory_info().rss / 2**20

def layers():
    # The last one keeps the heap's end in use, as something always does.
    return [torch.ones({_MIB} << 18) for _ in range({_COUNT})]

# glibc learns from what is freed that such sizes come and go, and keeps them in its heap from now on.
torch.ones(30 << 18)
with {{context}}():
    model = layers()
before = held()
del model[:-1]
gc.collect()
print(before - held())
"""


def given_back(context: str) -> float:
    """MiB that go back to the system when all but the last of many tensors are freed."""
    code = _MEASURE.replace("{context}", context)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.long
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have their own ways")
def test_a_freed_model_gives_its_memory_back_at_once() -> None:
    whole = (_COUNT - 1) * _MIB
    assert given_back("release_on_free") > 0.95 * whole
    assert given_back("nullcontext") < 0.5 * whole, (
        "glibc does so by itself now: release_on_free is not needed"
    )


def test_the_context_leaves_errors_alone() -> None:
    from clora_ext.formats.pages import release_on_free

    with pytest.raises(ValueError, match="as it was"), release_on_free():
        raise ValueError("as it was")
