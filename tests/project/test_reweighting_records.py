"""Kept changes and concepts that are weighed anew, as the manifest says them and as the folder keeps them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import check_each
from small_projects import BASE, RECORD, files, learn_kept, stage, weights

from clora_ext.errors import ProjectError
from clora_ext.project import Manifest, Project, Reweighting, State, copy_project
from clora_ext.project.migrations import FORMAT_VERSION
from clora_ext.project.weights import held, weights_of

DELTA = "3" * 16 + ".safetensors"
TAUGHT = replace(RECORD, delta=DELTA)
REMOVED = replace(
    TAUGHT,
    number=2,
    images=(),
    delta=None,
    sheet=None,
    reweighting=Reweighting(1, 0.0),
    parent_hash=TAUGHT.content_hash,
    content_hash="4" * 64,
)
BACK = replace(
    REMOVED,
    number=3,
    reweighting=Reweighting(1, 0.5),
    parent_hash=REMOVED.content_hash,
    content_hash="5" * 64,
)
AGAIN = replace(
    TAUGHT,
    number=3,
    delta=None,
    sheet=None,
    parent_hash=REMOVED.content_hash,
    content_hash="5" * 64,
)


def manifest(*records: Any) -> Manifest:
    last = records[-1]
    file = f"{last.content_hash[:16]}.safetensors"
    return Manifest(BASE, records, (State(last.number, last.content_hash, file, file),))


def test_what_is_written_is_read_again() -> None:
    def check(records: tuple[Any, ...]) -> None:
        written = manifest(*records)
        assert Manifest.decode(written.encode()) == written

    check_each([(TAUGHT,), (TAUGHT, REMOVED), (TAUGHT, REMOVED, BACK), (TAUGHT, REMOVED, AGAIN)], check)


def test_who_is_in_the_model_and_with_which_weight() -> None:
    def check(case: tuple[tuple[Any, ...], Mapping[int, float], list[int]]) -> None:
        records, weights_, numbers = case
        assert weights_of(records) == weights_
        assert [record.number for record in held(records)] == numbers

    cases: list[tuple[tuple[Any, ...], Mapping[int, float], list[int]]] = [
        ((), {}, []),
        ((TAUGHT,), {1: 1.0}, [1]),
        ((TAUGHT, REMOVED), {1: 0.0}, []),
        ((TAUGHT, REMOVED, BACK), {1: 0.5}, [1]),
        ((TAUGHT, REMOVED, AGAIN), {1: 0.0, 3: 1.0}, [3]),
    ]
    check_each(cases, check)
    assert held((TAUGHT,), Reweighting(1, 0)) == ()


def test_records_that_do_not_fit_are_refused_by_name() -> None:
    second = replace(REMOVED, reweighting=None, images=TAUGHT.images, token="zwz")

    def check(case: tuple[tuple[Any, ...], str]) -> None:
        records, named = case
        with pytest.raises(ProjectError, match=named):
            Manifest.decode(manifest(*records).encode())

    cases: list[tuple[tuple[Any, ...], str]] = [
        ((replace(TAUGHT, delta="../x.safetensors"),), r"\[0\]\.delta is malformed"),
        ((TAUGHT, replace(second, delta=DELTA)), r"\[1\]\.delta belongs to an earlier concept"),
        ((replace(TAUGHT, delta=None), REMOVED), r"\[1\]\.reweighting\.number is 1, which is no earlier"),
        ((TAUGHT, replace(REMOVED, reweighting=Reweighting(2, 0))), r"number is 2, which is no earlier"),
        ((TAUGHT, replace(REMOVED, token="zwz")), r"number is 1, which is not what the record is called"),
        ((TAUGHT, replace(REMOVED, delta="4" * 16 + ".safetensors")), r"\.delta stands in a record that"),
        ((TAUGHT, replace(second, token="SKS")), r"\[1\]\.token belongs to an earlier concept"),
        (
            (TAUGHT, REMOVED, AGAIN, replace(BACK, number=4, parent_hash=AGAIN.content_hash)),
            r"\[3\]\.token belongs to an earlier concept",
        ),
    ]
    check_each(cases, check)


def test_a_weight_that_is_no_number_is_refused() -> None:
    content = json.loads(manifest(TAUGHT, REMOVED).encode())

    def check(case: tuple[object, str]) -> None:
        value, named = case
        content["concepts"][1]["reweighting"] = value
        with pytest.raises(ProjectError, match=named):
            Manifest.decode(json.dumps(content))

    cases: list[tuple[object, str]] = [
        ({"number": 1, "weight": "0"}, r"reweighting\.weight is not a finite number"),
        ({"number": 0, "weight": 0}, r"reweighting\.number is not a whole number"),
        ({"number": 1}, r"reweighting\.weight is missing"),
        (5, r"reweighting is not a table"),
    ]
    check_each(cases, check)


def test_format_4_knew_neither() -> None:
    content = json.loads(manifest(RECORD).encode())
    for concept in content["concepts"]:
        del concept["delta"], concept["reweighting"]
    read = Manifest.decode(json.dumps({**content, "format_version": 4}))
    assert read == manifest(RECORD)
    with pytest.raises(ProjectError, match=r"\.'delta' is not a field|newer clora"):
        Manifest.decode(json.dumps({**json.loads(read.encode()), "format_version": FORMAT_VERSION + 1}))


def test_a_change_stays_as_long_as_its_record(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    first, second = learn_kept(folder, "one"), learn_kept(folder, "two")
    (folder / "deltas" / "new.safetensors.partial").write_bytes(b"of a killed run")
    (folder / "deltas" / "mine.txt").write_text("the user's")
    with Project.writing(folder):
        pass
    assert {file.name for file in (folder / "deltas").iterdir()} == {first, second, "mine.txt"}
    copied = copy_project(folder, tmp_path / "copy")
    copy = copied.folder / "deltas" / second
    assert copy.samefile(folder / "deltas" / second)
    with Project.writing(folder) as project:
        project.undo()
    assert {file.name for file in (folder / "deltas").iterdir()} == {first, "mine.txt"}
    assert copy.is_file()


def test_two_changes_of_one_content_have_names_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    name = learn_kept(folder, "one")
    with Project.writing(folder) as project:
        file = project.deltas_dir / "new.safetensors"
        file.write_bytes(weights("another"))
        digest = project.concepts[0].content_hash
        assert project.adopt_delta(digest, file) == name.replace(".", "-2.")


def test_no_commit_of_a_change_that_is_not_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    learn_kept(folder, "one")
    with Project.writing(folder) as project:
        before = files(folder)
        entry, state = stage(project, "two")
        for content in (None, b"half"):
            if content is not None:
                (project.deltas_dir / ("7" * 16 + ".safetensors")).write_bytes(content)
            with pytest.raises(ProjectError, match="7777777777777777"):
                project.commit(replace(entry, delta="7" * 16 + ".safetensors"), state)
    kept = {name: content for name, content in files(folder).items() if not name.startswith("training")}
    assert kept == {name: content for name, content in before.items() if not name.startswith("training")}
