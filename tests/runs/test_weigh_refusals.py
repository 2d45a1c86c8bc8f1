"""Weights that a concept cannot be given, has already, or whose name another one has by now."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from kept_concepts import kept, then
from learned import Learned
from small_runs import snapshot

from clora_ext import Project, Request, add_concept, remove, weigh
from clora_ext.errors import CheckpointError, ProjectError, SettingsError, UsageError
from clora_ext.events import Event, Note


@pytest.mark.long
def test_a_removed_concept_can_be_taught_again_and_then_bars_the_way_back(
    request_: Request, learned: Learned
) -> None:
    folder = request_.project
    first = learned(kept(request_))
    again = replace(kept(request_), base=None)
    assert add_concept(again).content_hash == first.content_hash  # it is learned already
    remove(folder, "sks")
    assert add_concept(again).number == 3
    first_delta, _, second_delta = (record.delta for record in Project.open(folder).concepts)
    assert None not in {first_delta, second_delta}
    assert first_delta != second_delta
    remove(folder, "sks")
    assert Project.open(folder).weights == {1: 0.0, 3: 0.0}  # of those of one name, the newest


def test_the_weight_that_it_has_already_is_no_step(request_: Request, learned: Learned) -> None:
    folder = request_.project
    learned(kept(request_))
    notes: list[str] = []

    def sink(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    assert weigh(folder, "sks", 1, sink=sink).number == 1
    remove(folder, "sks")
    assert remove(folder, "sks", sink=sink).number == 2
    assert notes == ["concept 1, sks dog, has the weight 1 already", "concept 1, sks dog, is removed already"]
    assert Project.open(folder).number == 2


@pytest.mark.long
def test_what_cannot_be_done_exactly_is_refused_with_the_way_out(request_: Request) -> None:
    folder = request_.project
    with pytest.raises(UsageError, match="--keep-delta: mask does not simply add") as refused:
        add_concept(kept(request_, "mask"))
    assert {"distill", "merge", "orthogonal"} <= set(re.findall(r"\w+", refused.value.fix))
    assert not folder.exists()
    with pytest.raises(ProjectError, match="does not exist"):
        remove(folder, "sks")
    assert not folder.exists()
    add_concept(replace(kept(request_), keep_delta=False))
    before = snapshot(folder)
    with pytest.raises(UsageError, match="its change was not kept") as refused:
        remove(folder, "sks")
    assert refused.value.fix == "clora undo takes it back, since it is the newest"
    with pytest.raises(UsageError, match="its change was not kept") as refused:
        add_concept(replace(kept(request_), base=None))
    with pytest.raises(UsageError, match="has no concept 'skz'") as refused:
        weigh(folder, "skz", 0.5)
    assert "did you mean 'sks'?" in (refused.value.fix or "")
    with pytest.raises(SettingsError, match="finite"):
        weigh(folder, "sks", float("nan"))
    assert snapshot(folder) == before
    add_concept(replace(kept(then(request_, "cat_images")), token="cat", keep=0, base=None))
    with pytest.raises(UsageError, match="its change was not kept") as refused:
        remove(folder, "sks")
    assert refused.value.fix == "teach again: start a new project and teach the others there"
    add_concept(then(request_, "toy_images", "mask", keep=1))
    with pytest.raises(UsageError, match="concept 3, toy toy, was folded later by mask") as refused:
        remove(folder, "cat")
    with pytest.raises(UsageError, match="mask does not simply add what is learned"):
        remove(folder, "toy")


def test_a_change_that_is_gone_or_anothers_is_told(request_: Request, tiny: Path, learned: Learned) -> None:
    folder = request_.project
    learned(kept(request_))
    (file,) = (folder / "deltas").iterdir()
    before = snapshot(folder)
    content = file.read_bytes()
    file.write_bytes(tiny.read_bytes())
    with pytest.raises(CheckpointError, match="is not the change of a concept of this model"):
        remove(folder, "sks")
    file.write_bytes(content[:-4])
    with pytest.raises(CheckpointError):
        remove(folder, "sks")
    file.unlink()
    with pytest.raises(ProjectError, match="is gone"):
        remove(folder, "sks")
    assert snapshot(folder) == before
