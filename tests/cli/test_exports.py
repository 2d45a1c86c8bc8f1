"""`clora export` and what `clora inspect` says of its files."""

from pathlib import Path

import pytest
from calling import call
from whole_runs import Taught

CARD = ("preview.png", "json", "txt", "safetensors")


@pytest.mark.long
def test_exported_file_contains_its_history(taught: Taught, tmp_path: Path) -> None:
    file = tmp_path / "[red]model[bold].safetensors"
    done = call("export", "--project", taught.folder, file)
    assert done.code == 0, done.err
    assert str(file) in done.out
    report = call("inspect", file)
    assert report.code == 0, report.err
    assert str(file) in report.out
    assert "checkpoint, family sd1" in report.out
    assert "sks" in report.out
    (line,) = call("inspect", file, "--json").json
    assert [entry["token"] for entry in line["result"]["history"]] == ["sks"]


def test_export_replaces_nothing_unasked(taught: Taught, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"mine")
    assert call("export", "--project", taught.folder, file).code == 2
    assert file.read_bytes() == b"mine"
    assert call("export", "--project", taught.folder, "--overwrite", "--dtype", "bf16", file).code == 0
    assert "BF16" in call("inspect", file).out


def test_export_for_a_program_lists_every_file(taught: Taught, tmp_path: Path) -> None:
    for part in ("webui.py", "modules_forge/x", "models/Stable-diffusion/x"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    command = ("export", "--project", taught.folder, "--to", "forge", "--name", "[b]pets", tmp_path)
    refused = call(*command)
    assert (refused.code, "try --name 'b_pets'" in refused.err) == (2, True)
    done = call(*command[:-2], "pets", tmp_path)
    assert done.code == 0, done.err
    files = [tmp_path / "models" / "Stable-diffusion" / f"pets.{ending}" for ending in CARD]
    assert all(file.is_file() for file in files)
    assert [str(file) in done.out for file in files] == [True] * 4
    assert "next: in Forge" in done.out
    again = call(*command[:-2], "pets", "--overwrite", "--json", tmp_path)
    result = again.json[-1]["result"]
    assert [file["path"] for file in result["files"]] == [str(file) for file in files]
    assert result["path"] == str(files[-1])
    assert call(*command[:-2], "pets", tmp_path).code == 2


def test_export_for_a_program_refuses_another_folder(taught: Taught, tmp_path: Path) -> None:
    done = call("export", "--project", taught.folder, "--to", "comfyui", tmp_path)
    assert (done.code, "looked for main.py with comfy/" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_name_without_a_program_is_refused(taught: Taught, tmp_path: Path) -> None:
    done = call("export", "--project", taught.folder, "--name", "x", tmp_path / "x.safetensors")
    assert (done.code, "--name needs --to" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []
