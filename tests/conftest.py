"""What holds for every test: no hub, no colours, no surprises from the caller's environment."""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",  # its threads warn when a test starts a subprocess
        "NO_COLOR": "1",
        "COLUMNS": "110",
        "OMP_NUM_THREADS": "1",  # the models are tiny: more threads only wait for each other
    }
)
for forced in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):  # each makes rich or typer write colours
    os.environ.pop(forced, None)

# Doctests are looked for in every module; of several files named conftest, Python can import only one so, and
# what stands in for a package is not for this process.
collect_ignore_glob = ["conftest.py", "*/conftest.py", "comfyui/stand_ins"]

# The same examples on every run, and no time limit for one: the machine may be busy with a training.
settings.register_profile("clora", deadline=None, derandomize=True)
settings.load_profile("clora")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What needs a CUDA device says so where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device on this machine")


@pytest.fixture(autouse=True)
def heard_signals() -> Iterator[None]:
    """Ctrl-C is heard, also where the whole run was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def no_group_of_processes_left_open() -> Iterator[None]:
    """Else tests that fork several fail long after the one that has opened it."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        pytest.fail("this test has left torch.distributed open")


@pytest.fixture(autouse=True, scope="session")
def imports_that_are_not_garbage() -> None:
    """What the libraries leave is looked through once: each run of clora collects garbage several times."""
    importlib.import_module("diffusers.models.unets.unet_2d_condition")
    importlib.import_module("peft")
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def few_draws() -> Iterator[int]:
    """Of held-out noise, which every run asks three times: else they cost more than the steps of a training.

    Gives how many the engine takes; who looks at what they are worth asks for ``all_draws``.
    """
    held_out = importlib.import_module("clora_ext.training.held_out")
    with pytest.MonkeyPatch.context() as patch:
        every = int(held_out.DRAWS)
        patch.setattr(held_out, "DRAWS", 4)
        yield every


@pytest.fixture
def all_draws(few_draws: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """As many as the engine takes."""
    monkeypatch.setattr("clora_ext.training.held_out.DRAWS", few_draws)
    return few_draws


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hashes that tests take do not go to the user's own cache, nor come from there."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
