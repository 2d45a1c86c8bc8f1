"""The command answers at once: what computes nothing loads none of the heavy packages."""

import os
import subprocess
import sys
from pathlib import Path

from cases import check_each

HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate")  # seconds each, or tens of them

# Runs the installed command as its script does, then says on standard error which packages it loaded.
PROBE = f"""
import sys
from importlib.metadata import entry_points

(entry,) = entry_points(group="console_scripts", name="clora")
sys.argv[0] = "clora"
try:
    sys.exit(entry.load()())
finally:
    print("loaded:", *(name for name in {("pydantic", *HEAVY)!r} if name in sys.modules), file=sys.stderr)
"""


def run_clora(arguments: list[str], folder: Path) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """The finished command, and which of the packages it had loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    name, *loaded = done.stderr.splitlines()[-1].split()
    assert name == "loaded:", done.stderr
    return done, set(loaded)


COMMANDS = (
    "add-concept",
    "add-lora",
    "status",
    "generate",
    "export",
    "copy",
    "undo",
    "inspect",
    "comfyui",
    "study",
)


def computed() -> float:
    """Seconds of the processor that programs have taken so far, however much else the machine does."""
    found = os.times()
    return found.children_user + found.children_system


HELPS = [[], ["--help"], *([command, "--help"] for command in COMMANDS)]


def test_help_comes_at_once_and_loads_nothing_heavy(tmp_path: Path) -> None:
    def check(arguments: list[str]) -> None:
        began = computed()
        done, loaded = run_clora(arguments, tmp_path)
        assert computed() - began < 2  # under half a second on a machine that does nothing else
        assert done.returncode == 0
        assert "Usage: clora" in done.stdout
        # Typer itself loads pydantic as soon as it has words to read that are no call for help.
        assert loaded <= (set() if arguments == ["--help"] else {"pydantic"})

    check_each(HELPS, check)


def test_short_answers_come_at_once_and_load_nothing_heavy(tmp_path: Path) -> None:
    demo_model = Path(__file__).parents[1] / "clora_ext" / "assets" / "demo_model.safetensors"
    answers = {
        ("--version",): (0, "clora "),
        ("inspect", str(demo_model)): (0, "checkpoint, family sd1"),
        ("inspect", "x"): (1, ""),
        ("status",): (1, ""),
        ("study", "status", "demo"): (1, ""),
    }

    def check(arguments: tuple[str, ...]) -> None:
        began = computed()
        done, loaded = run_clora(list(arguments), tmp_path)
        assert computed() - began < 2
        code, text = answers[arguments]
        assert (done.returncode, text in done.stdout) == (code, True)
        assert loaded <= {"pydantic"}

    check_each(answers, check)


LIGHT = [
    "clora_ext",
    "clora_ext.strategies",
    "clora_ext.errors",
    "clora_ext.events",
    "clora_ext.adapters.sites",
]


def test_modules_that_every_command_imports_load_nothing_heavy(tmp_path: Path) -> None:
    def check(module: str) -> None:
        code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.stdout.strip(), done.stderr) == ("[]", "")

    check_each(LIGHT, check)
