"""All of an export or nothing: what exists, what fails in the middle, what does not fit."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from program_folders import A1111, COMFYUI, FORGE, LAYOUTS, PLACES, content, make, new_files
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext import export_to
from clora_ext.errors import Cancelled, CheckpointError, StorageError, UsageError
from clora_ext.events import FoldStep

DOGS = [("sks", "dog"), ("zwz", "robot")]
LAYER = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    return project_of(tmp_path / "my model", base, DOGS)


SIDECARS = {
    "comfyui": ("preview.png", "safetensors"),
    "a1111": ("preview.png", "json", "txt", "safetensors"),
    "forge": ("preview.png", "json", "txt", "safetensors"),
}


@pytest.mark.long
def test_nothing_is_overwritten_unasked(project: Path, tmp_path: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        program, ending = case
        mine = f"{PLACES[program]}/my model.{ending}"
        root = make(empty_folder(tmp_path), *LAYOUTS[program], mine)
        before = content(root)
        with pytest.raises(UsageError, match=f"my model.{ending} exists"):
            export_to(project, program, root)
        assert content(root) == before
        export_to(project, program, root, overwrite=True)
        after = content(root)
        assert after[mine] != b"theirs"
        assert set(after) == set(before) | {f"{PLACES[program]}/my model.{one}" for one in SIDECARS[program]}

    check_each([(program, ending) for program, endings in SIDECARS.items() for ending in endings], check)


def test_files_that_would_belong_to_the_new_model_do_not_stay(project: Path, tmp_path: Path) -> None:
    stale = "models/Stable-diffusion/my model.yaml"  # it would tell how another model is to be read
    root = make(tmp_path / "webui", *A1111, stale)
    with pytest.raises(UsageError, match=r"my model\.yaml exists"):
        export_to(project, "a1111", root)
    export_to(project, "a1111", root, overwrite=True)
    assert new_files(root, *A1111) == {f"models/Stable-diffusion/my model.{one}" for one in SIDECARS["a1111"]}


def test_the_base_is_never_replaced(base: Path, tmp_path: Path) -> None:
    """Neither by its own name nor by that of a link to it."""

    def check(name: str) -> None:
        root = make(empty_folder(tmp_path), *COMFYUI)
        own = root / "models" / "checkpoints" / "sd.safetensors"
        own.write_bytes(base.read_bytes())
        project = project_of(empty_folder(tmp_path) / "p", own, DOGS)
        if name != "sd":
            os.link(own, own.with_name(f"{name}.safetensors"))
        with pytest.raises(UsageError, match="belongs to the project or is its base"):
            export_to(project, "comfyui", root, name=name, overwrite=True)
        assert own.read_bytes() == base.read_bytes()

    check_each(["sd", "link"], check)


def broken(base: Path, file: Path) -> Path:
    tensors = load_file(base)
    tensors[LAYER].view(-1)[0] = float("nan")
    with safe_open(base, "pt") as opened:
        save_file(tensors, file, opened.metadata())
    return file


def test_a_model_that_cannot_be_written_leaves_no_half_set(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", broken(base, tmp_path / "nan.safetensors"), DOGS)

    def check(program: str) -> None:
        root = make(empty_folder(tmp_path), *LAYOUTS.get(program, ()))
        before = content(tmp_path)
        with pytest.raises(CheckpointError, match=LAYER.rsplit(".attn", maxsplit=1)[0]):
            export_to(project, program, root)
        assert content(tmp_path) == before

    check_each([*LAYOUTS, "diffusers"], check)


def test_a_stopped_export_leaves_no_half_set(project: Path, tmp_path: Path) -> None:
    def stop(event: object) -> None:
        if isinstance(event, FoldStep) and event.done == 100:
            raise Cancelled

    def check(program: str) -> None:
        root = make(empty_folder(tmp_path), *LAYOUTS[program])
        export_to(project, program, root)
        before = content(tmp_path)
        with pytest.raises(Cancelled):
            export_to(project, program, root, "bf16", overwrite=True, sink=stop)
        assert content(tmp_path) == before

    check_each(LAYOUTS, check)


def failing_replace(number: int) -> Callable[[Path, Path], None]:
    """A rename that the system refuses the ``number``-th time."""
    real, count = os.replace, 0

    def replace(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise PermissionError(13, "Permission denied", str(target))
        real(source, target)

    return replace


RENAMES = {"new": 5, "existing": 9}
"""How often an export for Forge renames a file, the writer of the checkpoint included."""


@pytest.mark.long
def test_a_refusal_in_the_middle_puts_everything_back(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(case: tuple[str, int]) -> None:
        files, number = case
        root = make(empty_folder(tmp_path), *FORGE)
        if files == "existing":
            export_to(project, "forge", root, "bf16")
        before = content(root)
        with monkeypatch.context() as patched:
            patched.setattr("clora_ext.export.atomic.os.replace", failing_replace(number))
            with pytest.raises(StorageError, match="Permission denied"):
                export_to(project, "forge", root, overwrite=True)
        assert content(root) == before

    check_each([(files, number) for files, count in RENAMES.items() for number in range(1, count + 1)], check)


def test_no_rename_is_left_out_of_the_test_of_refusals(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "webui", *FORGE)
    for count in RENAMES.values():  # nothing is there at first, then what the first export wrote
        with monkeypatch.context() as patched:
            patched.setattr("clora_ext.export.atomic.os.replace", failing_replace(count + 1))
            export_to(project, "forge", root, overwrite=True)


def test_what_a_killed_export_left_does_not_matter(project: Path, tmp_path: Path) -> None:
    place = "models/checkpoints/my model"
    litter = (
        f"{place}.safetensors.clora-new",
        f"{place}.preview.png.clora-new",
        f"{place}.safetensors.clora-old",
    )
    root = make(tmp_path / "ComfyUI", *COMFYUI, *litter[:2], f"{place}.safetensors.clora-new.partial")
    exported = export_to(project, "comfyui", root)
    assert len(load_file(exported.path)) == 368
    make(root, litter[2])
    export_to(project, "comfyui", root, overwrite=True)
    assert new_files(root, *COMFYUI) == {f"{place}.safetensors", f"{place}.preview.png"}


def test_space_is_checked_for_the_whole_set_before_the_first_byte(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(600_000))

    def check(program: str) -> None:
        root = make(empty_folder(tmp_path), *LAYOUTS.get(program, ()))
        before = content(tmp_path)
        with pytest.raises(
            StorageError, match=r"not enough space in .*: [\d.]+ MB are needed, 0\.6 MB are free"
        ):
            export_to(project, program, root, overwrite=True)
        assert content(tmp_path) == before

    check_each([*LAYOUTS, "diffusers"], check)


class _Usage:
    """What shutil.disk_usage says of an almost full disk."""

    def __init__(self, free: int) -> None:
        self.free = free


def test_the_needed_space_is_what_is_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "webui", *FORGE)
    needed = export_to(project, "forge", root).bytes
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(needed - 1))
    with pytest.raises(StorageError):
        export_to(project, "forge", root, overwrite=True)
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(needed + 4 * 8192))
    assert export_to(project, "forge", root, overwrite=True).bytes == needed


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the owner of everything may write anywhere")
def test_a_folder_without_permission_is_an_error(project: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "ComfyUI", *COMFYUI)
    (root / "models" / "checkpoints").chmod(0o555)
    with pytest.raises(StorageError, match="Permission denied"):
        export_to(project, "comfyui", root)
