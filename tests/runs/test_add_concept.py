"""The whole run on a tiny real model: learn, stop, resume, fail, and the project that is left behind."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import check_each, empty_folder
from exact_state import exact_project
from learned import Learned
from PIL import Image
from small_runs import SETTINGS, another, by_strategy, folder_of, pictures, with_settings, with_source
from tiny_model import write_tiny_model

from clora_ext import Project, Request, Result, add_concept, make_plan, strategies
from clora_ext.errors import (
    BaseChanged,
    CheckpointError,
    CloraError,
    DatasetError,
    ProjectError,
    ProjectLocked,
    SettingsError,
    UsageError,
)
from clora_ext.events import Event, Note, Preview, Stage, TrainStep
from clora_ext.formats.checkpoint import Checkpoint, content_hash
from clora_ext.strategies.mask import Mask


def test_a_concept_is_learned_and_everything_is_where_it_should_be(request_: Request) -> None:
    events: list[Event] = []
    asked = with_settings(request_, sample_count=3)
    result = add_concept(asked, events.append)
    project = Project.open(request_.project)
    assert result.checkpoint == project.checkpoint_path
    assert content_hash(Checkpoint(result.checkpoint)) == result.content_hash
    assert [event.step for event in events if isinstance(event, TrainStep)] == [1, 2, 3, 4, 5, 6]
    stages = [event.name for event in events if isinstance(event, Stage)]
    assert list(dict.fromkeys(stages)) == ["encode", "train", "measure", "sample", "fold", "verify", "commit"]
    record = project.concepts[0]
    assert (record.token, record.class_name, record.strategy) == ("sks", "dog", "mask")
    assert asked.settings is not None
    assert record.settings == asked.settings.as_dict()
    assert len(record.images) == 3
    with Image.open(result.sheet) as sheet:
        assert sheet.width > 300
    assert not list(project.training_dir.parent.rglob("*.safetensors"))


def test_only_attention_changed_and_the_rest_are_the_bases_bytes(
    request_: Request, tiny: Path, learned: Learned
) -> None:
    result = learned(request_)
    base, taught = Checkpoint(tiny), Checkpoint(result.checkpoint)
    targets = {target.name for target in make_plan(another(request_, "cat_images")).targets}
    changed = {n for n in base.names if b"".join(base.chunks(n)) != b"".join(taught.chunks(n))}
    assert changed
    assert changed <= targets
    assert taught.names == base.names
    assert json.loads(taught.header.metadata["clora.history"])["concepts"] == [
        {"token": "sks", "class": "dog", "strategy": "mask"}
    ]


@pytest.mark.long
def test_the_loss_falls_when_there_is_something_to_learn(request_: Request) -> None:
    """Many steps on one picture: noise is predicted better than before."""
    longer = replace(request_, settings=SETTINGS.with_values(steps=150, learning_rate=1e-2, batch_size=4))
    losses: list[float] = []
    add_concept(longer, lambda event: losses.append(event.loss) if isinstance(event, TrainStep) else None)
    assert np.mean(losses[-40:]) < 0.97 * np.mean(losses[:40])


@pytest.mark.long
def test_three_concepts_in_a_row_by_each_recommended_strategy(request_: Request, tmp_path: Path) -> None:
    def check(strategy: str) -> None:
        settings = SETTINGS.with_values(**by_strategy(strategy), steps=2, sheet="none")
        first = replace(request_, project=empty_folder(tmp_path) / "model", settings=settings)
        results: list[Result] = [add_concept(first)]
        for number, name in enumerate(("cat_images", "toy_images"), start=1):
            results.append(add_concept(another(first, name, number)))
        concepts = Project.open(first.project).concepts
        assert [concept.token for concept in concepts] == ["sks", "zwz", "sbu"]
        assert [concept.content_hash for concept in concepts] == [result.content_hash for result in results]
        assert len({result.content_hash for result in results}) == 3

    check_each(strategies.recommended(), check)


@pytest.mark.long
def test_any_strategy_follows_any(request_: Request) -> None:
    """One project, each concept by another strategy, those for comparison too."""
    order = [name for name in reversed(strategies.names()) if name not in strategies.recommended()]
    request = request_
    for number, strategy in enumerate([*order, "merge", order[0]]):
        request = request if number == 0 else another(request, f"images_{number}", number)
        add_concept(with_settings(request, **by_strategy(strategy), steps=2, sheet="none"))
    concepts = Project.open(request_.project).concepts
    assert [concept.strategy for concept in concepts] == [*order, "merge", order[0]]
    assert len({concept.content_hash for concept in concepts}) == len(concepts)


@pytest.mark.long
def test_an_orthogonal_run_stays_orthogonal_to_the_end(request_: Request, learned: Learned) -> None:
    """After Adam's steps, not only at the start: the new change's rows avoid the earlier ones'."""
    learned(request_)
    before = exact_project(request_.project)
    settings = SETTINGS.with_values(strategy="orthogonal", learning_rate=3e-2)
    second = replace(another(request_, "cat_images"), settings=settings)
    plan = make_plan(second)
    add_concept(second)
    after = exact_project(request_.project)
    base = Checkpoint(plan.context.base_file)
    for target in plan.targets:
        earlier = before[target.name] - base.read_float(target.name)
        tau = after[target.name] - before[target.name]
        assert float(tau.norm()) > 0
        assert float((tau @ earlier.T).norm()) < 0.02 * float(tau.norm()) * float(earlier.norm())


def test_planning_writes_nothing(request_: Request) -> None:
    plan = make_plan(request_)
    assert plan.context.new_project
    assert plan.context.number == 1
    assert not request_.project.exists()
    assert json.loads(json.dumps(plan.as_dict()))["concept"] == {
        "number": 1,
        "token": "sks",
        "token_from": "the next unused one",
        "class": "dog",
    }


def test_a_plans_fingerprint_follows_what_shapes_the_result_and_nothing_else(request_: Request) -> None:
    print_ = make_plan(request_).fingerprint
    moved = shutil.copytree(folder_of(request_), folder_of(request_).parent / "moved_dog")
    assert make_plan(replace(with_source(request_, folder=moved), class_name="dog")).fingerprint == print_
    assert make_plan(replace(request_, keep=3)).fingerprint == print_
    assert make_plan(replace(request_, token="qwk")).fingerprint != print_
    assert make_plan(replace(request_, settings=SETTINGS.with_values(rank=3))).fingerprint != print_


def test_a_run_that_was_stopped_before_its_strategy_was_revised_is_not_gone_on_with(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_plan(request_).fingerprint
    monkeypatch.setattr(Mask, "revision", Mask.revision + 1)
    assert make_plan(request_).fingerprint != before


def test_a_token_in_use_is_refused(request_: Request, learned: Learned) -> None:
    learned(request_)
    with pytest.raises(UsageError, match="sks"):
        add_concept(replace(another(request_, "cat_images"), token="sks"))


def test_undo_goes_back_to_the_bits_before(request_: Request, learned: Learned) -> None:
    first = learned(request_)
    bits = first.checkpoint.read_bytes()
    second = another(request_, "cat_images")
    add_concept(second)
    with Project.writing(request_.project) as project:
        assert project.undo().token == "zwz"
    project = Project.open(request_.project)
    assert project.checkpoint_path is not None
    assert project.checkpoint_path.read_bytes() == bits
    assert add_concept(second).number == 2


@pytest.mark.long
def test_a_changed_base_is_refused(request_: Request, tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    shutil.copyfile(request_.base or "", mine)
    add_concept(replace(request_, base=mine))
    write_tiny_model(mine, seed=9)
    with pytest.raises(BaseChanged):
        add_concept(another(request_, "cat_images"))
    mine.unlink()
    with pytest.raises(ProjectError, match="gone"):
        make_plan(another(request_, "toy_images"))
    moved = with_source(request_, folder=pictures(tmp_path / "owl_images", seed=2))
    assert make_plan(moved).context.number == 2
    add_concept(moved)
    assert make_plan(another(request_, "bird_images")).context.base.path == str(request_.base)


BAD: dict[str, tuple[Callable[[Request], Request], type[CloraError], str]] = {
    "rank": (
        lambda r: replace(r, settings=SETTINGS.with_values(rank=500)),
        UsageError,
        "larger than the layer",
    ),
    "numbers": (
        lambda r: replace(r, settings=SETTINGS.with_values(steps=0, learning_rate=-1, strategy="msak")),
        SettingsError,
        r"(?s)mask.*learning-rate.*steps",
    ),
    "option": (
        lambda r: replace(r, settings=SETTINGS.with_values(strategy_options={"mode": "x"})),
        UsageError,
        "option 'mode'",
    ),
    "no base": (
        lambda r: replace(r, base=Path("/nonexistent.safetensors")),
        CheckpointError,
        "does not exist",
    ),
    "base folder": (lambda r: replace(r, base=folder_of(r)), CheckpointError, "is a folder"),
    "no images": (lambda r: with_source(r, folder=r.project.parent), DatasetError, "image"),
    "keep": (lambda r: replace(r, keep=-1), UsageError, "keep"),
}


def test_bad_requests_are_refused_and_leave_nothing(request_: Request) -> None:
    def check(kind: str) -> None:
        spoil, error, message = BAD[kind]
        request = spoil(request_)
        for call in (make_plan, add_concept):
            with pytest.raises(error, match=message) as caught:
                call(request)
            assert caught.value.fix or isinstance(caught.value, SettingsError)
        assert not request.project.exists()

    check_each(BAD, check)


def test_a_locked_project_is_refused(request_: Request) -> None:
    with Project.writing(request_.project), pytest.raises(ProjectLocked):
        add_concept(request_)


def test_pictures_edited_between_plan_and_training_are_noticed(request_: Request) -> None:
    def edit(plan: Any) -> None:
        Image.new("RGB", (64, 64)).save(plan.dataset.pictures[0].path)

    with pytest.raises(DatasetError, match=r"0\.png"):
        add_concept(request_, on_plan=edit)


def test_captions_are_not_shortened_in_silence(request_: Request) -> None:
    (folder_of(request_) / "1.txt").write_text("a very long caption of sks dog " * 5, encoding="utf-8")
    events: list[Event] = []
    add_concept(request_, events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert [note for note in notes if "1.png is too long" in note]
    assert not [note for note in notes if "0.png" in note]


@pytest.mark.long
def test_no_picture_that_was_taught_is_kept(request_: Request) -> None:
    """Neither its bytes nor its look: every picture is of one colour that no drawing has."""
    magenta = (255, 0, 255)
    for file in folder_of(request_).glob("*.png"):
        Image.new("RGB", (64, 64), magenta).save(file)
    first = min(folder_of(request_).glob("*.png"))
    Image.new("RGB", (64, 48), magenta).save(first)
    add_concept(with_source(with_settings(request_, preview_every=2), skip_bad=True))
    taught = {file.read_bytes() for file in folder_of(request_).glob("*.png")}
    kept = [file for file in request_.project.rglob("*") if file.is_file()]
    assert any(file.suffix == ".png" for file in kept)
    for file in kept:
        assert not any(picture in file.read_bytes() for picture in taught), file
        if file.suffix == ".png":
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            assert (pixels == magenta).all(axis=2).sum() < 64, file


def test_previews_show_the_concept_grow_and_change_nothing(request_: Request, learned: Learned) -> None:
    plain = learned(request_)
    seen: dict[int, bytes] = {}

    def look(event: Event) -> None:
        if isinstance(event, Preview):
            seen[event.step] = event.path.read_bytes()

    other = replace(with_settings(request_, preview_every=2), project=request_.project.parent / "watched")
    watched = add_concept(other, look)
    assert sorted(seen) == [2, 4, 6]
    assert len(set(seen.values())) == 3
    assert watched.content_hash == plain.content_hash
    assert not list(other.project.rglob("preview-*"))


def test_a_negative_interval_of_previews_is_refused(request_: Request) -> None:
    with pytest.raises(UsageError, match="preview-every"):
        make_plan(with_settings(request_, preview_every=-1))
