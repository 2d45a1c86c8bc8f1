"""Workers as a cluster's jobs: submitit's own executor, with processes here in the place of Slurm."""

from pathlib import Path

import pytest
from small_study import STUDY

from clora_ext.errors import Cancelled, CloraError, UsageError
from clora_ext.events import Event, Note
from clora_ext.study.results import StudyFolder
from clora_ext.study.run import Source, begin
from clora_ext.study.slurm import work_on_cluster
from clora_ext.study.status import study_status

pytest.importorskip("submitit")

ONE = STUDY.replace('[["dog", "robot"], ["robot", "dog"]]', '[["dog"]]').replace('["a tiger"]', "[]")
ONE = ONE.replace('[[strategies]]\nname = "mask"\n', "").replace("[grid]", "[grid]\nisolated = false")
ONE = ONE.partition("[[forecasts]]")[0]


def begun(tiny_study: Path, folder: Path) -> Path:
    begin(Source(ONE, "one.toml", tiny_study.parent, "one"), folder)
    return folder


@pytest.mark.long
def test_workers_of_a_cluster_do_the_study(tiny_study: Path, tmp_path: Path) -> None:
    folder = begun(tiny_study, tmp_path / "out")
    notes: list[Event] = []
    work_on_cluster(folder, 2, notes.append, lambda: None, options={"timeout_min": 10}, cluster="local")
    assert study_status(folder).is_done
    assert isinstance(notes[0], Note)
    assert notes[0].text.startswith("submitted to local: ")


@pytest.mark.long
def test_what_a_worker_says_of_its_end_is_told(tiny_study: Path, tmp_path: Path) -> None:
    folder = begun(tiny_study, tmp_path / "out")
    (folder / "plan.json").write_text("{", encoding="utf-8")
    with pytest.raises(CloraError, match=r"1 of 1 workers ended with an error:[^$]*plan\.json is damaged"):
        work_on_cluster(folder, 1, lambda event: None, lambda: None, options={}, cluster="local")


# submitit's local executor does not wait for the process that it has told to end.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function Popen.__del__")
def test_stopping_cancels_the_clusters_jobs(tiny_study: Path, tmp_path: Path) -> None:
    folder = begun(tiny_study, tmp_path / "out")

    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        work_on_cluster(folder, 1, lambda event: None, stop, options={}, cluster="local")
    assert StudyFolder(folder).running() == frozenset()


def test_options_that_submitit_does_not_take_are_refused(tiny_study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="partitions"):
        work_on_cluster(
            tmp_path, 1, lambda event: None, lambda: None, options={"partitions": "gpu"}, cluster="local"
        )
