"""`clora config show` and `write`: files of what was taught, taught again by them."""

import shutil
from pathlib import Path

import pytest
import tomllib
from calling import call
from small_runs import pictures
from tiny_model import write_tiny_model

from clora_ext import Project

ARGUMENTS = (
    "--steps", "4", "--rank", "2", "--batch-size", "2", "--sample-steps", "2", "--kept-count", "0",
    "--targets", "transformer", "--strategy", "orthogonal", "--strategy-option", "mode=paper",
    "--clip-skip", "2", "--caption-prefix", "P",
)  # fmt: skip


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project of one concept; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("one")
    pictures(folder / "dog_images")
    base = write_tiny_model(folder / "tiny.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = call("add-concept", "dog_images", "--base", base, "--token", "uwu", *ARGUMENTS)
    assert found.code == 0, found.err
    return folder


@pytest.fixture
def taught(one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, the current folder."""
    folder = Path(shutil.copytree(one, tmp_path / "one"))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.long
def test_a_concept_is_taught_again_by_what_show_prints(taught: Path) -> None:
    shown = call("config", "show")
    assert shown.code == 0
    Path("dog.toml").write_text(shown.out, encoding="utf-8")
    assert call("config", "check", "dog.toml").code == 0
    base = ("--base", "tiny.safetensors", "--project", "again")
    again = call("add-concept", "dog_images", "--config", "dog.toml", *base)
    assert again.code == 0, again.err
    first, second = (Project.open(taught / name).concepts[0] for name in ("clora-model", "again"))
    assert (second.token, second.strategy, second.content_hash) == ("uwu", "orthogonal", first.content_hash)
    otherwise = call(
        "add-concept", "dog_images", "--config", "dog.toml", "--strategy", "mask", "--steps", "5",
        "--dry-run", "--json", *base[:2], "--project", "other",
    )  # fmt: skip
    plan = otherwise.json[-1]["result"]["plan"]
    assert (plan["strategy"], plan["settings"]["schedule"]["steps"]) == ("mask", 5)
    assert plan["settings"]["strategy_options"] == {} or "mode" not in plan["settings"]["strategy_options"]
    assert plan["settings"]["adapter"]["rank"] == 2


def test_a_training_file_for_sd_scripts_is_written_once(taught: Path) -> None:
    assert call("config", "write", "out/train.toml", "1").code == 0
    written = tomllib.loads((taught / "out" / "train.toml").read_text(encoding="utf-8"))
    assert (written["network_dim"], written["max_train_steps"], written["clip_skip"]) == (2, 4, 2)
    assert call("config", "check", "out/train.toml").code == 0
    twice = call("config", "write", "out/train.toml")
    assert twice.code == 2
    assert "exists" in twice.err


def test_a_number_that_is_none_is_told(taught: Path) -> None:
    found = call("config", "show", "7")
    assert found.code == 2
    assert "choose one of: 1" in found.err
    assert call("config", "show", "--project", taught / "nothing").code == 1
