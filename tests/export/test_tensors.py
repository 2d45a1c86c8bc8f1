"""The exported checkpoint: what is rounded, what is copied, what is refused, which bytes come out."""

import json
import math
import os
import stat
import subprocess
import sys
from hashlib import sha256
from itertools import product
from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext import export_checkpoint
from clora_ext.errors import CheckpointError, StorageError, UsageError

VAE = "first_stage_model."
LAYER = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
VAE_LAYER = "first_stage_model.decoder.conv_in.weight"
POSITIONS = "cond_stage_model.transformer.text_model.embeddings.position_ids"
DOGS = [("sks", "dog")]


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("half") / "half.safetensors")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("full") / "full.safetensors", dtype=torch.float32)


def changed(base: Path, file: Path, **changes: torch.Tensor) -> Path:
    """``base`` with other tensors, written by the safetensors library."""
    with safe_open(base, "pt") as opened:
        metadata = opened.metadata()
    save_file({**load_file(base), **changes}, file, metadata)
    return file


def spoiled(base: Path, file: Path, name: str, value: float) -> Path:
    tensor = load_file(base)[name].clone()
    tensor.view(-1)[3] = value
    return changed(base, file, **{name: tensor})


def data(file: Path) -> bytes:
    """Everything after the header."""
    content = file.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_a_float32_base_becomes_half_precision_except_for_its_vae(full: Path, tmp_path: Path) -> None:
    exact = torch.randn(load_file(full)[LAYER].shape, generator=torch.Generator().manual_seed(1))
    project = project_of(tmp_path / "p", full, DOGS, memory={LAYER: exact})
    exported = export_checkpoint(project, tmp_path / "x.safetensors")
    before, after = load_file(full), load_file(exported.path)
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        source = exact if name == LAYER else before[name]
        assert torch.equal(tensor, source if name.startswith(VAE) else source.half()), name
    assert exported.dtype == "fp16; the VAE fp32, as in the base"
    assert exported.content_hash != ""


def test_the_vae_is_copied_byte_for_byte(half: Path, full: Path, tmp_path: Path) -> None:
    projects = {file: project_of(tmp_path / file.stem, file, DOGS) for file in (half, full)}

    def check(case: tuple[Path, str]) -> None:
        file, dtype = case
        exported = export_checkpoint(projects[file], tmp_path / "x.safetensors", dtype, overwrite=True)
        before, after = load_file(file), load_file(exported.path)
        names = [name for name in before if name.startswith(VAE)]
        assert len(names) > 50
        assert all(after[name].dtype == before[name].dtype for name in names)
        assert all(after[name].numpy().tobytes() == before[name].numpy().tobytes() for name in names)

    check_each(product(projects, ["fp16", "bf16", "fp32"]), check)


def test_positions_of_words_stay_whole_numbers(half: Path, tmp_path: Path) -> None:
    base = changed(half, tmp_path / "b.safetensors", **{POSITIONS: torch.arange(20)[None]})
    project = project_of(tmp_path / "p", base, DOGS)

    def check(dtype: str | None) -> None:
        exported = export_checkpoint(project, tmp_path / "x.safetensors", dtype, overwrite=True)
        positions = load_file(exported.path)[POSITIONS]
        assert positions.dtype == torch.int64
        assert torch.equal(positions, torch.arange(20)[None])

    check_each([None, "fp16", "bf16", "fp32"], check)


def test_a_value_that_is_not_finite_is_named(half: Path, tmp_path: Path) -> None:
    def check(case: tuple[str, float]) -> None:
        name, value = case
        folder = empty_folder(tmp_path)
        project = project_of(folder / "p", spoiled(half, folder / "b.safetensors", name, value), DOGS)
        for dtype in (None, "fp32"):
            with pytest.raises(CheckpointError, match=f"{name}' holds values that are NaN or infinite"):
                export_checkpoint(project, folder / "out" / "x.safetensors", dtype)
        assert not (folder / "out").exists()

    check_each(product([LAYER, VAE_LAYER], [math.nan, math.inf, -math.inf]), check)


def test_a_value_beyond_half_precision_is_named(full: Path, tmp_path: Path) -> None:
    def check(value: float) -> None:
        folder = empty_folder(tmp_path)
        project = project_of(folder / "p", spoiled(full, folder / "b.safetensors", LAYER, value), DOGS)
        with pytest.raises(CheckpointError, match=LAYER) as caught:
            export_checkpoint(project, folder / "x.safetensors")
        assert "--dtype fp32" in caught.value.fix
        assert sorted(path.name for path in folder.iterdir()) == ["b.safetensors", "p"]
        exported = export_checkpoint(project, folder / "x.safetensors", "fp32")
        assert load_file(exported.path)[LAYER].view(-1)[3] == torch.tensor(value)

    check_each([65504.0, -65520.0, 70000.0, -3e38], check)


def test_a_value_at_the_edge_of_half_precision_is_written(full: Path, tmp_path: Path) -> None:
    base = spoiled(full, tmp_path / "b.safetensors", LAYER, 65472.0)
    exported = export_checkpoint(project_of(tmp_path / "p", base, DOGS), tmp_path / "x.safetensors")
    assert load_file(exported.path)[LAYER].view(-1)[3] == 65472.0


def test_a_value_beyond_bfloat16_is_named(full: Path, tmp_path: Path) -> None:
    largest = torch.finfo(torch.float32).max
    project = project_of(tmp_path / "p", spoiled(full, tmp_path / "b.safetensors", LAYER, largest), DOGS)
    with pytest.raises(CheckpointError, match=LAYER):
        export_checkpoint(project, tmp_path / "x.safetensors", "bf16")


def test_the_header_names_the_hash_of_the_bytes(half: Path, tmp_path: Path) -> None:
    exported = export_checkpoint(project_of(tmp_path / "p", half, DOGS), tmp_path / "x.safetensors")
    with safe_open(exported.path, "pt") as opened:
        metadata = opened.metadata()
    assert metadata["modelspec.hash_sha256"] == f"0x{sha256(data(exported.path)).hexdigest()}"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_others_may_read_the_file_as_the_umask_says(half: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", half, DOGS)
    for umask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(umask)
        try:
            exported = export_checkpoint(project, tmp_path / f"{mode}.safetensors")
        finally:
            os.umask(before)
        assert stat.S_IMODE(exported.path.stat().st_mode) == mode


@pytest.mark.long
def test_equal_projects_give_equal_bytes_in_any_process(half: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", half, [*DOGS, ("zwz", "robot")])
    code = (
        "import sys; from pathlib import Path; from clora_ext import export_checkpoint;"
        "print(export_checkpoint(Path(sys.argv[1]), Path(sys.argv[2])).content_hash)"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, project, tmp_path / "there.safetensors"],
        env={**os.environ, "PYTHONHASHSEED": "1", "TZ": "UTC+1"},
        check=True,
        capture_output=True,
        text=True,
    )
    here = export_checkpoint(project, tmp_path / "here.safetensors")
    assert there.stdout.strip() == here.content_hash
    assert (tmp_path / "there.safetensors").read_bytes() == here.path.read_bytes()


def test_the_base_itself_can_be_exported_before_anything_is_learned(half: Path, tmp_path: Path) -> None:
    exported = export_checkpoint(project_of(tmp_path / "p", half, []), tmp_path / "x.safetensors")
    assert data(exported.path) == data(half)
    with safe_open(exported.path, "pt") as opened:
        metadata = opened.metadata()
    assert json.loads(metadata["clora.history"])["concepts"] == []
    assert "modelspec.trigger_phrase" not in metadata


def test_a_folder_is_not_replaced_by_a_file(half: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", half, DOGS)
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        export_checkpoint(project, tmp_path / "x.safetensors", overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_disk_that_refuses_halfway_leaves_nothing(half: Path, tmp_path: Path) -> None:
    import resource

    project = project_of(tmp_path / "p", half, DOGS)
    old = tmp_path / "old.safetensors"
    old.write_bytes(b"mine")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        for target in (tmp_path / "new" / "x.safetensors", old):
            with pytest.raises(StorageError, match="cannot write"):
                export_checkpoint(project, target, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.safetensors", "p"]
    assert old.read_bytes() == b"mine"
