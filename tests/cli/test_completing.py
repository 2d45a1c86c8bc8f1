"""What the shell is told at Tab, asked as the installed script for bash asks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from calling import call
from cases import check_each
from tiny_model import write_tiny_model
from tiny_project import project_of

COMPLETE = """
import sys
from importlib.metadata import entry_points

sys.exit(entry_points(group="console_scripts", name="clora")["clora"].load()())
"""


def completed(line: str, where: Path) -> list[str]:
    words = line.split(" ")
    asked = {
        **os.environ,
        "HOME": str(where),
        "_CLORA_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE], capture_output=True, text=True, check=False, env=asked, cwd=where
    )
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.long
def test_values_are_completed(tmp_path: Path) -> None:
    for file in ("models/checkpoints/base.safetensors", "models/loras/ink.safetensors"):
        (tmp_path / "ComfyUI" / file).parent.mkdir(parents=True)
        (tmp_path / "ComfyUI" / file).write_bytes(b"x")
    project_of(tmp_path / "model", write_tiny_model(tmp_path / "tiny.safetensors"), [("sks", "dog")])
    lines = {
        "clora add-c": ["add-concept"],
        "clora add-concept --strategy m": ["mask", "merge"],
        "clora add-concept --preset th": ["thorough"],
        "clora add-concept --strategy orthogonal --strategy-option m": ["mode="],
        "clora add-concept --strategy orthogonal --strategy-option mode=": ["mode=row-space", "mode=paper"],
        "clora add-concept --base comfyui:": ["comfyui:base.safetensors"],
        "clora add-lora comfyui:i": ["comfyui:ink.safetensors"],
        "clora generate --project model -p s": ["sks"],
    }

    def check(line: str) -> None:
        assert completed(line, tmp_path) == lines[line]

    check_each(lines, check)


def test_the_script_for_a_shell_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = call("--show-completion", "bash")
    assert shown.code == 0
    assert "_CLORA_COMPLETE=complete_bash" in shown.out
