"""The command answers at once: what only talks loads no engine room."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate")  # seconds each, or tens of them

# Runs the installed command as its script does, then says on standard error which of them it loaded.
PROBE = f"""
import sys
from importlib.metadata import entry_points

(entry,) = entry_points(group="console_scripts", name="clora")
sys.argv[0] = "clora"
try:
    sys.exit(entry.load()())
finally:
    print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""


def run_clora(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["export", "--help"]], ids=" ".join)
def test_command_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    done = run_clora(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage: clora" in done.stdout
    assert done.stderr.splitlines()[-1].strip() == "loaded:"


def test_looking_into_a_file_loads_nothing_heavy(tmp_path: Path) -> None:
    demo_model = Path(__file__).parents[1] / "clora_ext" / "assets" / "demo_model.safetensors"
    done = run_clora("inspect", str(demo_model), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "checkpoint, family sd1" in done.stdout
    assert done.stderr.splitlines()[-1].strip() == "loaded:"


@pytest.mark.parametrize(
    "module",
    [
        "clora_ext",
        "clora_ext.strategies",
        "clora_ext.errors",
        "clora_ext.events",
        "clora_ext.adapters.sites",
    ],
)
def test_module_loads_nothing_heavy(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
