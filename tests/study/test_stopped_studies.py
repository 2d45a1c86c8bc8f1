"""What stops a study in the middle, what does not, and that it goes on from there."""

import os
from pathlib import Path

import pytest
from small_study import measured, small

from clora_ext.errors import Cancelled, DatasetError, StorageError
from clora_ext.events import Event, Note, TrainStep
from clora_ext.study.run import find_source, run_study
from clora_ext.study.status import study_status


@pytest.mark.long
def test_stopping_saves_and_going_on_takes_the_saved_steps(tiny_study: Path, tmp_path: Path) -> None:
    file = small(tmp_path / "file", tiny_study.parent / "tiny.safetensors")
    seen: list[int] = []

    def stop(event: Event) -> None:
        if isinstance(event, TrainStep):
            seen.append(event.step)
            if len(seen) == 2:
                raise Cancelled

    with pytest.raises(Cancelled):
        run_study(find_source(str(file)), tmp_path / "out", stop)
    assert study_status(tmp_path / "out").kinds["teach"].done == 0
    seen.clear()

    def note(event: Event) -> None:
        if isinstance(event, TrainStep):
            seen.append(event.step)
            raise Cancelled

    with pytest.raises(Cancelled):
        run_study(find_source(str(file)), tmp_path / "out", note)
    assert seen == [3]


@pytest.mark.long
def test_pictures_that_change_under_a_study_stop_it(tiny_study: Path, tmp_path: Path) -> None:
    file = small(tmp_path / "file", tiny_study.parent / "tiny.safetensors")
    folder = tmp_path / "out"
    caption = folder / "concepts" / "dog" / "01-dog-red.txt"

    def change(event: Event) -> None:
        if isinstance(event, Note) and event.text == "ceiling robot: the base":
            caption.write_text("a photo of another {token} {class}\n", encoding="utf-8")

    changed = r"concept 'dog' have changed while the study runs: .*01-dog-red\.txt"
    with pytest.raises(DatasetError, match=changed):
        run_study(find_source(str(file)), folder, change)
    assert study_status(folder).kinds["teach"].done == 0
    with pytest.raises(DatasetError, match="concept 'dog' are not those that the study began with"):
        run_study(find_source(str(file)), folder)
    caption.unlink()
    (folder / "concepts" / "dog" / "01-dog-red.png").unlink()  # drawn again, with its caption
    with pytest.raises(Cancelled):
        run_study(find_source(str(file)), folder, stop_at_once)


def stop_at_once(event: Event) -> None:
    raise Cancelled


@pytest.mark.long
def test_a_full_disk_stops_the_study_and_nothing_is_lost(
    tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from clora_ext.project import storage

    file = small(tmp_path / "file", tiny_study.parent / "tiny.safetensors")
    folder = tmp_path / "out"
    real = os.replace

    def full(source: Path, target: Path) -> None:
        if "results" in str(target) and len(list((folder / "results").glob("*.json"))) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(storage.os, "replace", full)
        with pytest.raises(StorageError, match="no space left on the disk"):
            run_study(find_source(str(file)), folder)
    found = measured(folder)
    assert len(found) == 2
    assert list((folder / "results").glob("*.partial")) == []
    with pytest.raises(Cancelled):
        run_study(find_source(str(file)), folder, stop_at_once)
    assert measured(folder) == found
