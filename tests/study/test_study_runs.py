"""A whole small study: what it gives, and that it gives the same when it is killed in the middle."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from small_study import children, measured, small

from clora_ext.errors import Cancelled, CloraError, ProjectError
from clora_ext.events import Event, Note, TrainStep
from clora_ext.study.report import write_report
from clora_ext.study.run import find_source, run_study
from clora_ext.study.schedule import read_schedule
from clora_ext.study.status import study_status

RUN = """
import sys
from pathlib import Path
from clora_ext.study.run import find_source, run_study

if __name__ == "__main__":
    run_study(find_source(sys.argv[1]), Path(sys.argv[2]), workers=int(sys.argv[3]))
"""


@pytest.fixture(scope="session")
def whole(tiny_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study, run to its end without a stop; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    run_study(find_source(str(tiny_study)), folder)
    return folder


@pytest.mark.long
def test_a_study_that_is_killed_goes_on_with_equal_results(
    whole: Path, tiny_study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", RUN, str(tiny_study), str(folder), "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while len(list((folder / "results").glob("*.json"))) < 7 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    before = measured(folder)
    assert 7 <= len(before) < len(measured(whole))
    notes: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    run_study(find_source(str(tiny_study)), folder, note)
    assert measured(folder) == measured(whole)
    done_again = {job.words for job in read_schedule(folder).jobs if job.key in before} & set(notes)
    assert done_again == set()
    assert list((folder / "models").iterdir()) == []  # nothing needs them any more


def test_a_study_that_is_done_does_nothing(whole: Path, tiny_study: Path) -> None:
    notes: list[Event] = []
    run_study(find_source(str(tiny_study)), whole, notes.append)
    assert notes == []


def test_the_status_counts(whole: Path) -> None:
    found = study_status(whole)
    assert found.is_done
    assert {kind: (one.done, one.total) for kind, one in found.kinds.items()} == {
        "teach": (6, 6),
        "score": (12, 12),
        "ceiling": (2, 2),
        "drift": (4, 4),
    }
    assert {name: one.total for name, one in found.strategies.items()} == {"merge": 4, "mask": 4}
    assert found.running == found.failures == ()
    assert found.seconds_left == 0


def test_the_report_tells_all_and_replaces_only_reports(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "study.md"
    assert write_report(whole, target) == target
    text = target.read_text(encoding="utf-8")
    assert text.startswith("# A tiny study\n")
    assert "Unfinished" not in text
    assert "| plasticity of merge above -100 |" in text
    for name in ("curves", "frontier", "heat"):
        assert f"](study/study-{name}.png)" in text
        assert (target.parent / "study" / f"study-{name}.png").stat().st_size > 500
    assert text == write_report(whole, target).read_text(encoding="utf-8")
    (tmp_path / "mine.md").write_text("mine", encoding="utf-8")
    with pytest.raises(CloraError, match="no report of a study"):
        write_report(whole, tmp_path / "mine.md")


@pytest.mark.long
def test_two_workers_give_what_one_gives_and_a_killed_one_is_replaced(
    whole: Path, tiny_study: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_once(event: Event) -> None:
        if isinstance(event, Note) and event.text.startswith("teach robot after dog") and not killed:
            (child, *_) = children(os.getpid())
            killed.append(child)
            os.kill(child, signal.SIGKILL)

    folder, file = tmp_path / "by-two", small(tmp_path / "file", tiny_study.parent / "tiny.safetensors")
    run_study(find_source(str(file)), folder, kill_once, workers=2)
    assert killed
    expected = measured(whole)
    assert measured(folder).items() <= expected.items()
    assert len(measured(folder)) == len(read_schedule(folder).jobs)


@pytest.mark.long
def test_a_model_that_is_taught_anew_is_no_model_until_it_is_finished(
    whole: Path, tiny_study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(whole, folder)
    run = next(run for run in read_schedule(folder).runs if run.strategy == "mask")
    asked = folder / "results" / f"{run.scores[-1][0]}.json"
    asked.unlink()  # the model that it was measured on is gone, what was written of its teaching is not

    def stop(event: Event) -> None:
        if isinstance(event, TrainStep) and list((folder / "models").glob(f"{run.models[1]}*")):
            raise Cancelled

    with pytest.raises(Cancelled):
        run_study(find_source(str(tiny_study)), folder, stop)
    run_study(find_source(str(tiny_study)), folder)
    assert measured(folder) == measured(whole)
    assert list((folder / "models").iterdir()) == []


@pytest.mark.long
def test_what_fails_for_one_strategy_does_not_stop_the_others(
    whole: Path, tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clora_ext.errors import TrainingError
    from clora_ext.study import worker

    real = worker.teach

    def fails(cell: Any, *others: Any) -> Any:
        if len(cell.lessons) == 2 and cell.lessons[-1].settings.strategy == "merge":
            raise TrainingError("the loss is NaN", fix="a lower rate")
        return real(cell, *others)

    file = small(tmp_path / "file", tiny_study.parent / "tiny.safetensors")
    folder = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(worker, "teach", fails)
        with pytest.raises(CloraError, match="3 of 14 jobs could not be done") as raised:
            run_study(find_source(str(file)), folder)
    assert "teach robot after dog, by merge, seed 0: the loss is NaN" in raised.value.message
    found = study_status(folder)
    assert {name: (one.done, one.total) for name, one in found.strategies.items()} == {
        "merge": (1, 2),
        "mask": (2, 2),
    }
    assert len(found.failures) == 1
    report = write_report(folder).read_text(encoding="utf-8")
    assert "Unfinished: 11 of 14 jobs are done" in report
    run_study(find_source(str(file)), folder)
    assert measured(folder).items() <= measured(whole).items()
    assert study_status(folder).failures == ()


def test_a_damaged_result_is_named(whole: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    key = read_schedule(folder).base["dog"]
    (folder / "results" / f"{key}.json").write_text("{", encoding="utf-8")
    with pytest.raises(ProjectError, match=f"{key}.json is damaged"):
        write_report(folder)


@pytest.mark.long
def test_a_shared_first_concept_leaves_each_strategy_its_own_result(whole: Path, tiny_study: Path) -> None:
    """The study lets ``naive`` teach it; a project that only ever knew ``mask`` comes to the same model."""
    from clora_ext import Pictures, Request, add_concept
    from clora_ext.study.run import load_plan

    plan = load_plan(whole)
    run = next(one for one in plan.schedule.runs if (one.strategy, one.order) == ("mask", "order 1"))
    project = tiny_study.parent / "by-mask"
    found = []
    for number, key in enumerate(run.models):
        lesson = plan.cells[key].lessons[number]
        request = Request(
            Pictures(lesson.concept.folder),
            project,
            None if number else plan.base.path,
            lesson.concept.words.token,
            lesson.concept.words.class_name,
            lesson.settings.with_values(strategy="mask"),
        )
        found.append(add_concept(request).content_hash)
    assert found == [measured(whole)[key]["content_hash"] for key in run.models]
