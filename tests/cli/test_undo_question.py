"""`clora undo` on a terminal asks before it deletes; a pseudo-terminal answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clora_ext.formats.training_state import (
    FORMAT,
    FORMAT_KEY,
    LOSSES_KEY,
    STATE_FILE,
    TRAINING_KEY,
    run_metadata,
)
from clora_ext.project import Project

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
CLORA = Path(sys.executable).parent / "clora"


def undo_on_a_terminal(project: Path, answer: str, *more: str) -> tuple[int, str]:
    """Exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    try:
        run = subprocess.Popen(
            [CLORA, "undo", "--project", project, *more], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE
        )
        os.write(ours, f"{answer}\n".encode())
        run.communicate(timeout=120)
        return run.returncode, os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_no_leaves_everything_as_it_is(project: Path) -> None:
    before = {file: file.read_bytes() for file in project.rglob("*") if file.is_file()}
    code, screen = undo_on_a_terminal(project, "n")
    assert (code, "will be deleted" in screen, "nothing was undone" in screen) == (130, True, True)
    assert {file: file.read_bytes() for file in project.rglob("*") if file.is_file()} == before


def test_yes_undoes(project: Path) -> None:
    code, screen = undo_on_a_terminal(project, "y")
    assert (code, "sks dog, will be deleted" in screen) == (0, True)
    assert Project.open(project).number == 0


def test_nobody_is_asked_who_has_answered(project: Path) -> None:
    code, screen = undo_on_a_terminal(project, "n", "--yes")
    assert (code, "Undo it?" in screen) == (0, False)
    assert Project.open(project).number == 0


def test_a_program_is_not_asked(project: Path) -> None:
    code, screen = undo_on_a_terminal(project, "n", "--json")
    assert (code, "Undo it?" in screen) == (0, False)
    assert Project.open(project).number == 0


def test_an_unfinished_training_is_named_too(project: Path) -> None:
    state = project / "training" / "002" / STATE_FILE
    state.parent.mkdir(parents=True)
    metadata = {TRAINING_KEY: "x", FORMAT_KEY: FORMAT, LOSSES_KEY: "[0.5, 0.25]"}
    save_file({"a": torch.zeros(1)}, state, {**metadata, **run_metadata("sbu cat", 5)})
    code, screen = undo_on_a_terminal(project, "n")
    assert (code, "unfinished training of sbu cat, step 2 of 5" in " ".join(screen.split())) == (130, True)
