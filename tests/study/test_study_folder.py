"""A study's folder: what else lies there is left alone, and a job belongs to one process at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from clora_ext.errors import ProjectError
from clora_ext.study.results import StudyFolder
from clora_ext.study.run import find_source, run_study
from clora_ext.study.status import study_status


def test_a_folder_that_holds_something_else_is_left_alone(tiny_study: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ProjectError, match=r"is not a study: it holds 'holiday\.jpg'"):
        run_study(find_source(str(tiny_study)), tmp_path)
    with pytest.raises(ProjectError, match="holds no study"):
        study_status(tmp_path / "none")


def test_a_job_is_held_by_one_process_and_let_go_of_by_its_death(tmp_path: Path) -> None:
    store = StudyFolder(tmp_path)
    store.make()
    hold = (
        "import sys, time; from pathlib import Path; from clora_ext.study.results import StudyFolder\n"
        "with StudyFolder(Path(sys.argv[1])).claimed('key') as mine:\n"
        "    print(mine, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "True"
        with store.claimed("key") as mine:
            assert not mine
        assert store.running() == {"key"}
    finally:
        process.kill()
        process.communicate()
    with store.claimed("key") as mine:
        assert mine
    assert store.running() == frozenset()
