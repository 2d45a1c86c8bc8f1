"""Text encoders that do not learn leave before the training, and what is learned is the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cards import a_gpu
from cases import check_each, empty_folder
from flow_families import ANIMA, Z_IMAGE, family_id
from flow_family import FlowFamily
from small_runs import FLOW, another, folder_of, stop_at, with_settings, with_source
from tiny_flow import modules
from torch import nn

from clora_ext import Request, Result, add_concept, estimate, make_plan
from clora_ext.config.precision import Precision
from clora_ext.config.processes import ALONE, Place
from clora_ext.errors import Cancelled
from clora_ext.events import Event, Note
from clora_ext.runs import begin_training, train_pictures
from clora_ext.runs.run_texts import run_texts
from clora_ext.runs.text_reading import TextReading

DISTILL: dict[str, Any] = {"strategy": "distill", "strategy_options": {"token_rate": 0, "own_pictures": 2}}
SHUFFLED: dict[str, Any] = {"shuffle_caption": True, "tag_dropout": 0.2, "caption_dropout": 0.2}
WAYS: dict[str, dict[str, Any]] = {
    "distill": DISTILL,
    "shuffled": {"strategy": "merge", **SHUFFLED},
    "the class": {"strategy": "merge", "preserve_class": 1.0},
    "cut anywhere": {"strategy": "merge", "random_crop": True},
    "all, beside validation": {
        **DISTILL,
        **SHUFFLED,
        "preserve_class": 0.5,
        "random_crop": True,
        "validation_split": 0.34,
        "validate_every": 2,
        "gradient_accumulation_steps": 2,
    },
}


@contextmanager
def watched() -> Iterator[list[set[str]]]:
    """The kinds of device on which text encoders lie when each step has been done."""
    seen: list[set[str]] = []
    begin = train_pictures.begin_training

    def begun(run: Any, asked: Any, team: Any, sink: Callable[[Event], None]) -> Any:
        found = begin(run, asked, team, sink)
        train = found.training.batch_at

        def batch_at(step: int) -> Any:
            encoders = nn.ModuleList(found.model.text_encoders)
            seen.append(
                {one.device.type for name, one in encoders.named_parameters() if "projection" not in name}
            )
            return train(step)

        return replace(found, training=replace(found.training, batch_at=batch_at))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_pictures, "begin_training", begun)
        yield seen


@contextmanager
def staying() -> Iterator[None]:
    """Text encoders are asked in every step, as they are where they learn."""

    def stays(plan: Any, precision: Precision, place: Place) -> TextReading:
        return TextReading("nowhere", stays=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(begin_training, "text_reading", stays)
        yield


def teach(asked: Request, place: Path, sink: Callable[[Event], None] = lambda event: None) -> Result:
    """The concept learned in a folder of its own."""
    return add_concept(replace(asked, project=empty_folder(place) / "model"), sink)


def check_same(asked: Request, place: Path) -> None:
    """What is learned without text encoders is what is learned with them."""
    with watched() as where:
        left = teach(asked, place)
    assert where
    assert all(kinds == {"meta"} for kinds in where)
    with watched() as where, staying():
        stayed = teach(asked, place)
    assert all(kinds == {"cpu"} for kinds in where)
    assert left.content_hash == stayed.content_hash
    assert left.outcome == stayed.outcome


def tagged(asked: Request) -> Request:
    """Every picture has tags."""
    for number, image in enumerate(sorted(folder_of(asked).glob("*.png"))):
        image.with_suffix(".txt").write_text(f"sks dog, red {number}, sitting, outdoors, big")
    return asked


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_stable_diffusion_learns_the_same_without_its_text_encoder(
    request_: Request, tmp_path: Path, way: str
) -> None:
    check_same(with_settings(tagged(request_), **WAYS[way], steps=4), tmp_path)


@pytest.mark.long
def test_a_transformer_learns_the_same_without_its_language_model(asked: Request, tmp_path: Path) -> None:
    """By ``distill`` as it is usual: no row learns."""
    check_same(with_settings(asked, strategy="distill", steps=2, sheet="none"), tmp_path)


@pytest.mark.parametrize("family", [Z_IMAGE], indirect=True, ids=family_id)
def test_a_transformer_learns_the_same_beside_its_class(asked: Request, tmp_path: Path) -> None:
    check_same(with_settings(asked, **WAYS["the class"], steps=2, sheet="none"), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("family", [Z_IMAGE, ANIMA], indirect=True, ids=family_id)  # of one text, and of two
def test_a_run_that_is_stopped_reads_what_is_left_and_learns_the_same(asked: Request) -> None:
    first = replace(asked, settings=FLOW.with_values(strategy="distill", steps=4, sheet="none"))
    straight = replace(first, project=asked.project.parent / "straight")
    for one in (first, straight):
        add_concept(one)
    second = another(first, "cat_images")
    made = add_concept(replace(second, project=straight.project))
    whole = run_texts(make_plan(second), ALONE)
    with pytest.raises(Cancelled):
        add_concept(second, stop_at(2))
    left = run_texts(make_plan(second), ALONE)
    assert set(left) < set(whole)
    assert add_concept(second).content_hash == made.content_hash


@pytest.mark.long
def test_where_a_word_of_the_text_encoder_learns_it_stays(request_: Request, tmp_path: Path) -> None:
    with watched() as where:
        teach(with_settings(request_, strategy="distill", steps=2), tmp_path)
    assert where == [{"cpu"}] * 2


@pytest.mark.long
def test_texts_that_take_more_than_the_text_encoder_keep_it_or_lie_on_the_disk(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled = with_settings(tagged(request_), strategy="merge", sheet="none", **SHUFFLED)
    assert not estimate(make_plan(with_settings(shuffled, steps=3))).notes
    (many,) = estimate(make_plan(with_settings(shuffled, steps=150, batch_size=4))).notes
    assert "more than its own" in many
    monkeypatch.setattr("clora_ext.runs.text_reading.weight_bytes", lambda *_: {"text_encoder": 1})
    asked, told = with_settings(shuffled, steps=3), list[Event]()
    (note,) = estimate(make_plan(asked)).notes
    assert "--cache-dir" in note
    with watched() as where:
        stayed = teach(asked, tmp_path, told.append)
    assert where == [{"cpu"}] * 3
    assert Note(note) in told
    kept = with_source(asked, cache_dir=tmp_path / "cache")
    assert "it is kept in" in estimate(make_plan(kept)).notes[0]
    with watched() as where:
        left = teach(kept, tmp_path)
    assert where == [{"meta"}] * 3
    assert left.content_hash == stayed.content_hash
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.safetensors")}
    assert len(files) >= len(run_texts(make_plan(asked), ALONE))
    assert teach(kept, tmp_path).content_hash == left.content_hash
    assert files == {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.safetensors")}


def test_each_of_several_processes_reads_its_part(request_: Request) -> None:
    plan = make_plan(with_settings(tagged(request_), **DISTILL, **SHUFFLED, batch_size=4))
    whole = set(run_texts(plan, ALONE))
    parts = [set(run_texts(plan, Place(rank, 2))) for rank in range(2)]
    assert set.union(*parts) == whole
    assert all(part < whole for part in parts)


@pytest.mark.long
def test_the_plan_counts_the_text_encoder_where_the_training_has_it(
    asked: Request, family: FlowFamily
) -> None:
    """With a large batch nothing but the training step decides."""
    tagged(asked)

    def needed(**values: Any) -> int:
        found = estimate(make_plan(with_settings(asked, **values, batch_size=64))).memory
        assert found is not None
        return found

    def stays(plan: Any, precision: Precision, place: Place) -> TextReading:
        return TextReading("nowhere", stays=True)

    def check(way: str) -> None:
        left = needed(**WAYS[way])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("clora_ext.runs.estimate.text_reading", stays)
            assert needed(**WAYS[way]) - left == 2 * encoder

    reading = [part for name, part in modules(kind=family.name).items() if name.startswith("text_")]
    encoder = sum(one.numel() for part in reading for one in part.parameters())
    with a_gpu():
        check_each(WAYS, check)
