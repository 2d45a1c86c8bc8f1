"""A project's base: one file or several, which may move but not change."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_projects import BASE, taught

from clora_ext.errors import BaseChanged, CheckpointError
from clora_ext.formats.models import file_sha256
from clora_ext.project import Base, BasePart, Project


def test_base_must_stay_the_same(tmp_path: Path) -> None:
    file = tmp_path / "base.safetensors"
    file.write_bytes(b"base")
    project = Project.open(taught(tmp_path / "model", 1))
    project.check_base(BASE.sha256)
    BASE.check(file)
    file.write_bytes(b"other")
    with pytest.raises(BaseChanged, match=f"{file_sha256(file)}.*{BASE.sha256}") as caught:
        BASE.check(file)
    assert caught.value.fix
    with pytest.raises(BaseChanged, match=r"/models/a\.safetensors"):
        Base.of_checkpoint("sd1", "file", "/models/a.safetensors", "0" * 64).check_hash("1" * 64)
    with pytest.raises(CheckpointError, match="cannot read"):
        BASE.check(tmp_path / "none")


def test_base_of_a_taught_project_may_move_but_not_change(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    with Project.writing(folder) as project:
        with pytest.raises(BaseChanged):
            project.start(Base.of_checkpoint("sd1", "file", "/models/a.safetensors", "0" * 64))
        moved = Base.of_checkpoint("sd1", "file", "/models/b.safetensors", BASE.sha256)
        project.start(moved)
        assert (project.base, project.number) == (moved, 1)
    assert Project.open(folder).base == BASE


def test_the_hash_of_a_base_in_parts_is_that_of_all_parts() -> None:
    parts = {
        name: BasePart("file", f"/{name}", digit * 64) for name, digit in (("transformer", "1"), ("vae", "2"))
    }
    base = Base("sd1", parts)
    assert base == Base("sd1", dict(reversed(parts.items())))
    assert base.sha256 == Base("sd1", dict(reversed(parts.items()))).sha256
    assert base.main == parts["transformer"]
    changed = replace(base, parts={**parts, "vae": replace(parts["vae"], sha256="3" * 64)})
    assert len({base.sha256, changed.sha256, "1" * 64, "2" * 64}) == 4
    assert base.moved_to(Path("/new")).sha256 == base.sha256
    assert base.moved_to(Path("/new")).parts == {
        **parts,
        "transformer": replace(base.main, path=str(Path("/new"))),
    }
    assert Base("sd1", {"transformer": parts["transformer"]}).sha256 == "1" * 64
