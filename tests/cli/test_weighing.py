"""`clora remove` and `clora weigh`, from the plan to what status says afterwards."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from calling import call
from safetensors.torch import save_file
from test_completing import completed
from whole_runs import FAST, content, pictures

from clora_ext.formats.training_state import (
    FORMAT,
    FORMAT_KEY,
    LOSSES_KEY,
    STATE_FILE,
    TRAINING_KEY,
    run_metadata,
)
from clora_ext.project import Project


@pytest.fixture(scope="module")
def two(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two concepts, of which the first is kept; not to be changed by a test."""
    place = tmp_path_factory.mktemp("two")
    folder = place / "kept"
    first = ("--project", folder, "--base", base, "--strategy", "merge", "--token", "sks")
    dogs = pictures(place / "dog_images")
    called = call("add-concept", *first, "--keep-delta", *FAST, dogs)
    assert called.code == 0, called.err
    assert "kept in the project: a past adapter, outside of the strict regime" in called.out
    cats = pictures(place / "cat_images", seed=9)
    second = ("--project", folder, "--strategy", "merge", "--token", "sbu")
    assert call("add-concept", *second, *FAST, cats).code == 0
    return folder


@pytest.fixture
def kept(two: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(two, tmp_path / "kept"))


@pytest.mark.long
def test_a_concept_is_weighed_removed_and_brought_back(kept: Path) -> None:
    before = content(kept)
    dry = call("remove", "sks", "--project", kept, "--dry-run", "--json")
    assert dry.json[-1]["result"]["plan"]["reweighting"] == {"number": 1, "weight": 0.0}
    assert content(kept) == before
    called = call("weigh", "sks", "0.5", "--project", kept)
    assert called.code == 0, called.err
    assert "1 now, 0.5 then" in called.out
    assert "concept 1, sks dog, has the weight 0.5" in called.out
    assert "-0.5 times what was kept of it" in called.out
    removed = call("remove", "sks", "--project", kept, "--json")
    assert removed.json[-1]["result"]["number"] == 4
    status = call("status", "--project", kept).out
    for words in ("sks dog (removed)", "sks dog: weight 0.5 (1)", "sks dog: removed (1)"):
        assert words in " ".join(status.split()), words
    assert "of sks dog: past adapters, outside of the strict regime" in " ".join(status.split())
    told = call("status", "--project", kept, "--json").json[-1]["result"]
    assert [one["weight"] for one in told["concepts"]] == [0, 1, None, None]
    assert told["disk"]["deltas"] == sum(file.stat().st_size for file in (kept / "deltas").iterdir())
    again = call("remove", "sks", "--project", kept)
    assert (again.code, "is removed already" in again.err) == (0, True)
    undone = call("undo", "--project", kept)
    assert "step 4, the removal of sks dog, is undone" in undone.out
    assert Project.open(kept).weights == {1: 0.5, 2: 1.0}


def test_only_what_was_kept_is_weighed(kept: Path) -> None:
    before = content(kept)
    called = call("remove", "sbu", "--project", kept)
    assert called.code == 2
    assert "its change was not kept (--keep-delta)" in " ".join(called.err.split())
    assert "clora undo takes it back" in " ".join(called.err.split())
    near = call("weigh", "skss", "1", "--project", kept)
    assert (near.code, "did you mean 'sks'?" in " ".join(near.err.split())) == (2, True)
    assert content(kept) == before
    assert completed(f"clora remove --project {kept} s", kept.parent) == ["sks"]
    assert completed(f"clora weigh --project {kept} s", kept.parent) == ["sks"]


@pytest.mark.long
def test_the_report_says_that_a_concept_was_removed(kept: Path) -> None:
    assert call("remove", "sks", "--project", kept).code == 0
    assert call("report", "--project", kept).code == 0
    page = (kept / "report.html").read_text(encoding="utf-8")
    assert "<bdi>sks dog</bdi></a> (removed)" in page
    assert page.count("<section") == 2
    assert "sks dog, after 3 of 3 steps" not in page
    assert "sbu cat, after 3 of 3 steps" in page


@pytest.mark.long
def test_a_terminal_is_asked_only_where_something_would_be_lost(kept: Path) -> None:
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    import os

    state = kept / "training" / "003" / STATE_FILE
    state.parent.mkdir(parents=True)
    metadata = {TRAINING_KEY: "x", FORMAT_KEY: FORMAT, LOSSES_KEY: "[0.5]"}
    save_file({"a": torch.zeros(1)}, state, {**metadata, **run_metadata("toy cat", 5)})
    before = content(kept)
    clora = Path(sys.executable).parent / "clora"
    ours, theirs = pty.openpty()
    try:
        run = subprocess.Popen(
            [clora, "remove", "sks", "--project", kept, "--keep", "0"],
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.PIPE,
        )
        os.write(ours, b"n\n")
        run.communicate(timeout=300)
        screen = " ".join(os.read(ours, 10_000).decode().split())
    finally:
        os.close(ours)
        os.close(theirs)
    assert run.returncode == 130
    for words in ("unfinished training of toy cat", "this cannot be undone", "nothing was changed"):
        assert words in screen
    assert content(kept) == before
