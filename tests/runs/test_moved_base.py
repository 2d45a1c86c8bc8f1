"""A base that was moved, deleted or replaced: what needs it says so, and nothing passes for it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from safetensors.torch import load_file
from small_runs import SETTINGS, pictures
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext import GenerateRequest, Pictures, Project, Request, export_checkpoint, export_lora, export_to
from clora_ext import generate as draw
from clora_ext.errors import BaseChanged, ProjectError, UsageError
from clora_ext.project import MANIFEST, Base, Manifest, relocate
from clora_ext.runs.make_plan import make_plan

DOGS = [("sks", "dog")]
LAYER = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "base.safetensors")


def taught_project(base: Path) -> Path:
    """A project with one concept that has changed one layer."""
    weight = load_file(base)[LAYER].float()
    return project_of(base.parent / "taught", base, DOGS, memory={LAYER: weight + 0.25})


def undone_project(base: Path) -> Path:
    """A project whose concepts were all undone: it stands at its base."""
    return project_of(base.parent / "undone", base, [])


def move(base: Path) -> Path:
    return base.rename(base.parent / "moved.safetensors")


def replace_by_another(base: Path) -> Path:
    """Another model of the same kind and size at the base's place; gives the true base's new place."""
    moved = move(base)
    write_tiny_model(base, seed=7)
    return moved


def export(project: Path, base: Path | None) -> object:
    target = empty_folder(project.parent) / "out.safetensors"
    try:
        export_checkpoint(project, target, base=base)
        return target.read_bytes()
    finally:
        assert not list(target.parent.glob("*.partial"))


def export_folder(project: Path, base: Path | None) -> object:
    target = empty_folder(project.parent) / "out"
    export_to(project, "diffusers", target, base=base)
    return {file.relative_to(target): file.read_bytes() for file in target.rglob("*.safetensors")}


def export_learned(project: Path, base: Path | None) -> object:
    target = empty_folder(project.parent) / "out.safetensors"
    export_lora(project, target, rank=2, base=base)
    return {name: tensor.tolist() for name, tensor in load_file(target).items()}


def generate(project: Path, base: Path | None) -> object:
    request = GenerateRequest("a dog", count=1, steps=1)
    (file,) = draw(project, request, empty_folder(project.parent), base=base)
    return file.read_bytes()


def plan(project: Path, base: Path | None) -> object:
    images = pictures(empty_folder(project.parent) / "cat_images")
    request = Request(Pictures(images), project, base=base, settings=SETTINGS)
    return make_plan(request).context.base.sha256


Use = Callable[[Path, Path | None], object]
WITHOUT_BASE: list[Use] = [export, export_folder, generate]
WITH_BASE: list[Use] = [export_learned, plan]


@pytest.mark.long
def test_what_was_learned_is_exported_and_drawn_without_the_base(base: Path) -> None:
    project = taught_project(base)
    before = [use(project, None) for use in WITHOUT_BASE]
    for lose in (replace_by_another, Path.unlink):
        lose(base)
        check_each(
            range(len(before)), lambda number: same(WITHOUT_BASE[number](project, None), before[number])
        )


def same(found: object, wanted: object) -> None:
    assert found == wanted


def test_what_needs_the_base_says_so_and_takes_its_new_place(base: Path) -> None:
    project = taught_project(base)
    before = {use.__name__: use(project, None) for use in WITH_BASE}
    moved = move(base)

    def check(use: Use) -> None:
        with pytest.raises(ProjectError, match=r"base\.safetensors is gone") as caught:
            use(project, None)
        assert "--base FILE" in caught.value.fix
        assert "clora relocate" in caught.value.fix
        assert use(project, moved) == before[use.__name__]

    check_each(WITH_BASE, check)


def test_another_model_in_the_bases_place_never_passes_for_it(base: Path) -> None:
    taught, undone = taught_project(base), undone_project(base)
    moved = replace_by_another(base)

    def check(case: tuple[Path, Use]) -> None:
        project, use = case
        with pytest.raises(BaseChanged, match="is not the base that the project started from"):
            use(project, None)
        use(project, moved)

    check_each(
        [*((taught, use) for use in WITH_BASE), *((undone, use) for use in (*WITHOUT_BASE, plan))], check
    )


def test_another_model_is_not_taken_for_the_base_when_it_is_named(base: Path) -> None:
    taught, undone = taught_project(base), undone_project(base)
    other = write_tiny_model(base.parent / "other.safetensors", seed=7)

    def check(case: tuple[Path, Use]) -> None:
        project, use = case
        with pytest.raises(BaseChanged):
            use(project, other)

    check_each([*((taught, use) for use in WITH_BASE), *((undone, use) for use in WITHOUT_BASE)], check)


def test_a_project_that_was_undone_is_exported_as_its_base(base: Path) -> None:
    project = undone_project(base)
    before = export(project, None)
    moved = move(base)
    with pytest.raises(ProjectError, match="is gone"):
        export(project, None)
    assert export(project, moved) == before


def test_relocate_writes_the_new_place_down_and_nothing_else(base: Path) -> None:
    project = taught_project(base)
    learned = export_learned(project, None)
    moved = replace_by_another(base)
    manifest = (project / "manifest.json").read_text(encoding="utf-8")
    with pytest.raises(BaseChanged):
        relocate(project, base)
    assert (project / "manifest.json").read_text(encoding="utf-8") == manifest
    relocate(project, moved)
    assert (project / "manifest.json").read_text(encoding="utf-8") == manifest.replace(str(base), str(moved))
    assert export_learned(project, None) == learned
    Project.open(project).verify()


def test_relocate_finds_the_base_through_a_link(base: Path) -> None:
    project = taught_project(base)
    link = base.parent / "link.safetensors"
    link.symlink_to(move(base))
    recorded = relocate(project, link).base
    assert recorded is not None
    assert recorded.path == str(link)
    assert export_learned(project, None)


def test_a_copy_made_elsewhere_needs_no_base_to_be_exported(base: Path) -> None:
    project = taught_project(base)
    before = export(project, None)
    elsewhere = Path(shutil.copytree(project, base.parent / "elsewhere"))
    base.unlink()
    shutil.rmtree(project)
    assert export(elsewhere, None) == before


def test_the_base_is_never_replaced_by_what_was_made_from_it(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the model is exported without its base does not mean that the base is forgotten."""
    project, content = taught_project(base), base.read_bytes()
    manifest = project / MANIFEST
    of_a_file = Manifest.decode(manifest.read_text(encoding="utf-8"))
    demo = Base.of_checkpoint("sd1", "demo", None, of_a_file.base.sha256)
    monkeypatch.setattr("clora_ext.project.base.DEMO_MODEL", base)

    def check(recorded: Manifest) -> None:
        manifest.write_text(recorded.encode(), encoding="utf-8")
        with pytest.raises(UsageError, match="belongs to the project or is its base"):
            export_checkpoint(project, base, overwrite=True)
        assert base.read_bytes() == content

    check_each([of_a_file, replace(of_a_file, base=demo)], check)
