"""What the nodes refuse, and what they leave as it was; beside it, odd input that is fine."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from calling_nodes import batch, dataset, same, start, state, taught
from cases import check_each
from fake_comfy import Comfy
from safetensors.torch import load_file, save_file

from clora_ext import Project
from clora_ext.errors import (
    BaseChanged,
    CheckpointError,
    CloraError,
    DatasetError,
    ProjectError,
    ProjectLocked,
    StorageError,
    UsageError,
)
from clora_ext.formats import writer


def test_a_checkpoint_unknown_to_comfyui_is_its_own_error(pack: Any, comfy: Comfy) -> None:
    comfy.known = False
    with pytest.raises(RuntimeError, match="detect"):
        start(pack)


def test_what_cannot_be_taught_is_refused_before_comfyui_loads_it(
    pack: Any, comfy: Comfy, tiny: Path
) -> None:
    headless = {n: weight for n, weight in load_file(tiny).items() if not n.startswith("cond_stage_model.")}
    models = {
        "flux": ({"double_blocks.0.img_attn.qkv.weight": torch.zeros(4, 8)}, "Flux"),
        "headless": (headless, "text encoder"),
    }
    comfy.known = False  # loading it would be ComfyUI's own error

    def check(name: str) -> None:
        tensors, reason = models[name]
        save_file(tensors, comfy.base / "models" / "checkpoints" / f"{name}.safetensors")
        with pytest.raises(CheckpointError, match=reason) as caught:
            pack.StartProject.execute(f"{name}.safetensors", "mine")
        assert caught.value.fix in str(caught.value)

    check_each(models, check)


@pytest.mark.long
def test_a_full_disk_in_the_middle_leaves_the_project_as_it_was(
    pack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = taught(pack)[3]
    before = state(first)
    real, written = writer.write_all, []

    def full(file: Any, data: memoryview) -> None:
        written.append(file)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, data)

    monkeypatch.setattr(writer, "write_all", full)
    with pytest.raises(StorageError, match="no space left") as caught:
        taught(pack, first, seed=1)
    assert caught.value.fix in str(caught.value)
    monkeypatch.undo()
    again = pack.LoadModel.execute("mine").args[3]
    assert Project.open(first.folder).number == 1
    assert same(state(again), before)
    assert taught(pack, again, seed=1)[4].splitlines() == ["sks dog", "zwz dog"]


def test_captions_belong_to_pictures(pack: Any) -> None:
    made = dataset(pack, captions="one {token}\n\ntwo\nthree")
    assert [file.read_text() for file in sorted(made.folder.glob("*.txt"))] == [
        "one {token}\n",
        "two\n",
        "three\n",
    ]
    assert dataset(pack, captions="one {token}\ntwo\nthree").folder == made.folder
    with pytest.raises(DatasetError, match="2 captions for 3 pictures"):
        dataset(pack, captions="one\ntwo")


def test_an_empty_batch_is_refused(pack: Any) -> None:
    with pytest.raises(DatasetError, match="no pictures"):
        pack.DatasetFromImages.execute(batch(0), "", "dog", "")


def test_transparency_is_dropped(pack: Any) -> None:
    images = torch.cat([batch(), torch.zeros(3, 32, 32, 1)], dim=3)
    made = pack.DatasetFromImages.execute(images, "", "dog", "").args[0]
    assert made.folder == dataset(pack).folder


def test_folders_inside_the_input_folder_only(pack: Any, comfy: Comfy, tmp_path: Path) -> None:
    folder = comfy.base / "input" / "10_sks dog"
    shutil.copytree(dataset(pack).folder, folder)
    (comfy.base / "input" / "out").symlink_to(tmp_path)
    assert pack.DatasetFromFolder.execute("10_sks dog", "", "").args[0].folder == folder.resolve()

    def check(name: str) -> None:
        with pytest.raises(UsageError):
            pack.DatasetFromFolder.execute(name, "", "")

    check_each(["..", "../output", "/etc", "", "out", "none"], check)
    with pytest.raises(UsageError, match="CLORA_ANY_FOLDER"):
        pack.DatasetFromFolder.execute("", "", "", str(tmp_path))


def test_any_folder_where_it_is_allowed(pack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLORA_ANY_FOLDER", "1")
    assert pack.DatasetFromFolder.execute("", "", "", str(tmp_path)).args[0].folder == tmp_path
    before = pack.DatasetFromFolder.fingerprint_inputs("", "", "", str(tmp_path))
    (tmp_path / "new.txt").write_text("new")
    assert pack.DatasetFromFolder.fingerprint_inputs("", "", "", str(tmp_path)) != before
    (tmp_path / "dogs.zip").touch()
    for node in (pack.DatasetFromFolder.execute, pack.DatasetFromFolder.fingerprint_inputs):
        with pytest.raises(DatasetError, match="is an archive"):
            node("", "", "", f" {tmp_path / 'dogs.zip'} ")
        with pytest.raises(DatasetError, match="there is no folder"):
            node("", "", "", str(tmp_path / "gone"))


def test_names_that_no_file_can_have_are_refused(pack: Any) -> None:
    def check(name: str) -> None:
        with pytest.raises(UsageError):
            start(pack, name)

    check_each(["a/b", "../a", "[a]", "x" * 300, "", "a\nb", "NUL"], check)


@pytest.mark.long
def test_an_emoji_is_a_name(pack: Any) -> None:
    assert taught(pack, start(pack, "🐶 dogs"), steps=1)[3].folder.name == "🐶 dogs"


@pytest.mark.long
def test_a_project_that_trains_elsewhere_is_left_alone(pack: Any) -> None:
    project = taught(pack)[3]
    with Project.writing(project.folder), pytest.raises(ProjectLocked, match="another"):
        taught(pack, project, seed=1)


@pytest.mark.long
def test_a_base_that_has_changed_is_refused(pack: Any, comfy: Comfy, tiny: Path) -> None:
    taught(pack)
    link = comfy.base / "models" / "checkpoints" / "tiny.safetensors"
    link.unlink()
    content = bytearray(tiny.read_bytes())
    content[-1] ^= 1
    link.write_bytes(content)
    with pytest.raises(BaseChanged):
        start(pack)


@pytest.mark.long
def test_a_base_that_has_moved_is_named_where_it_is_needed_and_nowhere_else(
    pack: Any, comfy: Comfy, tiny: Path
) -> None:
    shutil.copy(tiny, comfy.base / "models" / "checkpoints" / "own.safetensors")
    taught(pack, pack.StartProject.execute("own.safetensors", "mine").args[3])
    (comfy.base / "models" / "checkpoints" / "own.safetensors").unlink()
    loaded = pack.LoadModel.execute("mine").args[3]
    pack.SaveCheckpoint.execute(loaded, "x", "both", "fp16")
    for needs_it in (
        lambda: pack.ExportLora.execute(loaded, "x", 4),
        lambda: taught(pack, loaded, seed=1, copy_to="a copy"),
    ):
        with pytest.raises(CloraError, match=r"own\.safetensors is gone") as caught:
            needs_it()
        assert "clora relocate" in caught.value.fix


def test_what_has_learned_nothing_cannot_be_saved(pack: Any) -> None:
    project = start(pack)
    calls = {
        "SaveCheckpoint": ("x", "comfyui", "fp16"),
        "ExportLora": ("x", 4),
        "ForgettingReport": (),
        "ConceptPrompt": (0, ""),
    }

    def check(node: str) -> None:
        with pytest.raises(ProjectError, match="learned nothing"):
            pack.nodes[node].execute(project, *calls[node])

    check_each(calls, check)
