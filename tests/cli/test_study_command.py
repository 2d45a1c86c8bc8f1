"""`clora study`: run, status and report by the command."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from calling import Called, call
from small_study import STUDY

ONE = STUDY.replace('[["dog", "robot"], ["robot", "dog"]]', '[["dog"]]').replace('["a tiger"]', "[]")
ONE = ONE.replace('[[strategies]]\nname = "mask"\n', "").partition("[[forecasts]]")[0]


@dataclass(frozen=True)
class Ran:
    folder: Path
    called: Called


@pytest.fixture
def file(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of one concept and one strategy, in the current folder."""
    (tmp_path / "tiny.safetensors").hardlink_to(base)
    (tmp_path / "one.toml").write_text(ONE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Path("one.toml")


@pytest.fixture(scope="module")
def ran(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same after it was run; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "tiny.safetensors").hardlink_to(base)
    (folder / "one.toml").write_text(ONE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return Ran(folder, call("study", "run", "one.toml"))


@pytest.fixture
def done(file: Path, ran: Ran) -> Path:
    """A copy of it, in the current folder."""
    assert ran.called.code == 0, ran.called.err
    shutil.copytree(ran.folder / "one-study", "one-study")
    return file


@pytest.mark.long
def test_a_study_is_run_counted_and_reported(file: Path, ran: Ran, tmp_path: Path) -> None:
    assert call("study", "status", file).code == 1  # not begun yet
    assert ran.called.code == 0, ran.called.err
    shutil.copytree(ran.folder / "one-study", "one-study")
    assert "all 8 jobs are done" in ran.called.out
    assert "clora study report one.toml" in ran.called.out
    assert "teach dog first, by every strategy alike, seed 0" in ran.called.err
    status = call("study", "status", file)
    assert status.code == 0
    assert "left                nothing" in status.out
    assert call("study", "status", file, "--json").json[-1]["result"]["kinds"]["teach"] == {
        "done": 2,
        "total": 2,
    }
    assert "merge" in status.out
    report = call("study", "report", file, "--output", "docs.md", "--json")
    assert report.json[-1]["result"] == {"report": "docs.md"}
    assert Path("docs.md").read_text(encoding="utf-8").startswith("# A tiny study")
    assert (tmp_path / "one-study" / "plan.json").is_file()


def test_a_wrong_file_is_refused_with_all_that_is_wrong(file: Path) -> None:
    file.write_text(ONE.replace("noises", "noise").replace("token", "tokn"), encoding="utf-8")
    found = call("study", "run", file)
    assert found.code == 2
    assert "unknown key evaluation.noise" in found.err
    assert "unknown key concepts[1].tokn" in found.err
    assert not Path("one-study").exists()


def test_what_is_no_study_is_refused(file: Path) -> None:
    found = call("study", "run", "demos")
    assert found.code == 2
    assert "demo, demo_10, demo_100, paper_objects, paper_styles" in found.err.replace("\n", " ")
    wrong = call("study", "run", file, "--slurm", "--slurm-option", "gpu")
    assert wrong.code == 2
    assert "'gpu' is no NAME=VALUE" in wrong.err
    none = call("study", "run", file, "--workers", "0")
    assert none.code == 2
    assert "cannot work with 0 workers" in none.err


def test_a_study_is_packed_reported_and_gone_on_with(done: Path, ran: Ran, tmp_path: Path) -> None:
    assert call("study", "report", done, "--output", "before.md").code == 0
    packed = call("study", "pack", done, "--json")
    assert packed.json[-1]["result"] == {"file": "one.json", "results": 8}
    text = Path("one.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert str(ran.folder) not in text
    assert '"host"' not in text
    assert call("study", "report", "one.json").code == 0
    assert _without_pictures("one.md") == _without_pictures("before.md")
    assert call("study", "unpack", "one.json", "--folder", "again").code == 0
    went_on = call("study", "run", done, "--folder", "again")
    assert went_on.code == 0
    assert "teach" not in went_on.err


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": 2, "plan": {}, "results": {}}',
        '{"format": 1, "plan": {}, "results": {"../../x": {}}}',
        '{"format": 1, "plan": 3, "results": {}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_packed_study_is_refused(tmp_path: Path, text: str) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text, encoding="utf-8")
    found = call("study", "unpack", wrong, "--folder", tmp_path / "new")
    assert found.code == 1
    assert "is no packed study" in found.err or "is damaged" in found.err
    assert call("study", "report", wrong).code == 1


def test_nothing_is_unpacked_over_something(done: Path) -> None:
    assert call("study", "pack", done).code == 0
    found = call("study", "unpack", "one.json", "--folder", "one-study")
    assert found.code == 1
    assert "is not empty" in found.err


def _without_pictures(report: str) -> list[str]:
    lines = Path(report).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("![")]
