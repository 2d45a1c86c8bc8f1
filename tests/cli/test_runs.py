"""Whole runs through the command, with a real model that is tiny."""

import io
import json
import os
import pickle
import re
import signal
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import psutil
import pytest
from calling import call, main
from whole_runs import FAST, Taught, content, pictures

from clora_ext.project import Project


@pytest.mark.long
def test_json_lines_describe_the_run_from_plan_to_result(taught: Taught) -> None:
    first, *events, last = taught.called.json
    assert first["event"] == "plan"
    rare = {"token": "sks", "token_from": "the next unused one"}
    assert first["plan"]["concept"] == {"number": 1, **rare, "class": "dog"}
    assert first["plan"]["estimate"]["memory"] > 500e6
    assert first["plan"]["estimate"]["disk"]["total"] > Path(last["result"]["checkpoint"]).stat().st_size
    assert [event["step"] for event in events if event["event"] == "train_step"] == [1, 2, 3]
    assert {event["event"] for event in events} >= {"stage", "train_step", "fold_step", "sampled"}
    assert set(last) == {"time", "result"}
    times = [event["time"] for event in events]
    assert times == sorted(times)
    assert Path(last["result"]["checkpoint"]).is_file()
    assert Path(last["result"]["sheet"]).is_file()
    assert last["result"]["trigger_prompt"] == "a picture of sks dog"


def test_people_read_what_was_found_and_made(taught: Taught, base: Path) -> None:
    text = taught.called.err
    assert f"no project in {taught.folder} yet: starting one on {base}" in text
    assert "0.png" in text
    assert "token     sks (the next unused one)" in text
    assert "class     dog (as given)" in text
    assert re.search(r"memory    about .* MB, .* free\n", text)
    assert "time      " in text
    assert re.search(r"disk      writes .*B, .*B of it stay, .*B free\n", text)
    result = taught.called.json[-1]["result"]
    for value in ("checkpoint", "content_hash", "trigger_prompt", "sheet"):
        assert str(result[value]) in text
    assert f'next: clora generate -p "a picture of sks dog" --project {taught.folder}' in text


def test_dry_run_changes_nothing(base: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "10_zwz cat")
    before = content(tmp_path)
    dry = ("add-concept", "--project", tmp_path / "p", "--base", base, "--dry-run", *FAST)
    done = call(*dry, "--strategy", "merge", folder)
    assert done.code == 0, done.err
    assert content(tmp_path) == before
    assert "token     zwz (from the folder's name)" in done.out
    assert "nothing was changed" in done.out
    assert "reads" not in done.out
    held = call(*dry, folder)
    assert "parameters; and what the text encoder reads 'zwz' as" in held.out


def test_a_run_is_fitted_into_a_card_s_memory(project: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "cat_images", seed=7)
    asked = ("add-concept", "--project", project, "--dry-run", *FAST, folder)
    large = call(*asked, "--memory", "64")
    assert re.search(r"for 64 GB \(60.1 GB of it usable\): the settings stay, the run takes .* MB", large.out)
    small = call(*asked, "--memory", "1", "--batch-size", "64", "--resolution", "256")
    assert re.search(r"for 1 GB \(939.5 MB of it usable\): gradient checkpointing \(.* GB less\)", small.out)
    assert "batches of" not in small.out  # a batch that is given stays
    assert "more than 1 GB" in small.out
    here = call(*asked, "--memory", "auto")
    there = psutil.virtual_memory().total / (1 << 30)
    assert f"for {round(there, 1):g} GB (" in here.out
    for wrong in ("much", "0.5", "nan", "inf"):
        refused = call(*asked, "--memory", wrong)
        assert refused.code == 2
        assert f"--memory {wrong!r} is no number of GB" in refused.err


def test_given_token_is_said_to_be_given(project: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "cat_images")
    done = call("add-concept", "--project", project, "--token", "zwz", "--dry-run", *FAST, folder)
    assert "token     zwz (as given)" in done.out


def test_dry_run_is_json_for_programs(project: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "cat_images", seed=3)
    (line,) = call("add-concept", "--project", project, "--dry-run", "--json", *FAST, folder).json
    assert line["result"]["dry_run"] is True
    rare = {"token": "zwz", "token_from": "the next unused one"}
    assert line["result"]["plan"]["concept"] == {"number": 2, **rare, "class": "cat"}
    assert line["result"]["plan"]["estimate"]["seconds_per_step"] > 0  # as the first concept's run was


def test_status_shows_what_was_learned(taught: Taught) -> None:
    done = call("status", "--project", taught.folder)
    assert done.code == 0, done.err
    digest = taught.called.json[-1]["result"]["content_hash"]
    base = taught.called.json[0]["plan"]["base"]["sha256"]
    for fact in ("sks dog", "distill", "L1", base, digest, digest[:12], "can go back 1 concept"):
        assert fact in done.out
    (line,) = call("status", "--project", taught.folder, "--json").json
    assert [concept["token"] for concept in line["result"]["concepts"]] == ["sks"]
    assert line["result"]["content_hash"] == digest
    assert line["result"]["disk"]["total"] > 0


def test_generate_draws(taught: Taught, tmp_path: Path) -> None:
    arguments = ("--project", taught.folder, "-p", "a photo of sks dog", "-n", 2, "--steps", 2)
    done = call("generate", *arguments, "-o", tmp_path / "x.png")
    assert done.code == 0, done.err
    files = [tmp_path / "x-1.png", tmp_path / "x-2.png"]
    assert done.out.splitlines()[1:] == [str(file) for file in files]
    assert all(file.is_file() for file in files)
    last = call("generate", *arguments, "-o", tmp_path / "x.png", "--json").json[-1]
    assert len(last["result"]["files"]) == 2


def test_inspect_shows_the_title_and_the_trigger_phrase(taught: Taught, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    assert call("export", "--project", taught.folder, file).code == 0
    done = call("inspect", file)
    for fact in ("sks dog (clora)", "clora-small-diffusion-v1", "trigger       sks dog", "steps"):
        assert fact in done.out
    (line,) = call("inspect", file, "--json").json
    assert line["result"]["title"] == "sks dog (clora)"
    assert line["result"]["trigger_phrase"] == "sks dog"


def test_export_suggests_the_nearest_precision(taught: Taught, tmp_path: Path) -> None:
    done = call("export", "--project", taught.folder, "--dtype", "fp61", tmp_path / "x.safetensors")
    assert (done.code, "did you mean 'fp16'?" in done.err) == (2, True)


def test_undo_says_what_is_undone(project: Path) -> None:
    done = call("undo", "--project", project)
    assert done.code == 0, done.err
    assert "concept 1, sks dog, is undone" in done.out
    assert Project.open(project).number == 0
    assert "nothing learned yet" in call("status", "--project", project).out
    again = call("undo", "--project", project, "--json")
    assert again.code == 1
    assert again.json[-1]["error"]["kind"] == "ProjectError"


def test_undo_makes_no_folder(tmp_path: Path) -> None:
    done = call("undo", "--project", tmp_path / "nowhere")
    assert (done.code, "does not exist" in done.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_locked_project_is_refused(project: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "cat_images")
    with Project.writing(project):
        done = call("add-concept", "--project", project, "--json", *FAST, folder)
    assert done.code == 1
    assert done.json[-1]["error"]["kind"] == "ProjectLocked"


def test_bad_pictures_leave_the_project_as_it_was(project: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "cat_images")
    (folder / "empty.png").write_bytes(b"")
    before = content(project)
    done = call("add-concept", "--project", project, *FAST, folder)
    assert done.code == 1
    assert "empty.png" in done.err
    assert "--skip-bad" in done.err
    assert content(project) == before


def test_token_in_use_is_refused(project: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "cat_images", seed=5)
    done = call("add-concept", "--project", project, "--token", "sks", *FAST, folder)
    assert (done.code, "--token zwz" in done.err) == (2, True)


def test_pickle_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.ckpt"
    file.write_bytes(pickle.dumps({"state_dict": {}}))
    done = call("inspect", file)
    assert done.code == 1
    assert "pickle" in done.err


class _StopsAfter(io.StringIO):
    """Standard output whose reader presses Ctrl-C when it has seen ``text``."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__()
        self.text, self.number, self.done = text, number, threading.Event()

    def write(self, text: str) -> int:
        if self.text in text and not self.done.is_set():
            self.done.set()
            os.kill(os.getpid(), self.number)
        return super().write(text)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_is_resumed_by_the_same_command(number: int, project: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "cat_images", seed=7)
    command = ("add-concept", "--project", project, "--json", "--steps", "6", *FAST[2:], folder)
    with redirect_stdout(_StopsAfter('"step": 2', number)) as out, redirect_stderr(io.StringIO()) as err:
        assert main([str(word) for word in command]) == 130
    error = json.loads(out.getvalue().splitlines()[-1])["error"]
    assert (error["kind"], error["exit_code"]) == ("Cancelled", 130)
    assert "same command" in err.getvalue()
    assert Project.open(project).number == 1

    again = call(*command)
    assert again.code == 0, again.err
    assert "going on from step 2 of 6" in again.err
    assert [line["step"] for line in again.json if line.get("event") == "train_step"] == [3, 4, 5, 6]
    assert Project.open(project).number == 2


@pytest.mark.long
def test_what_was_learned_goes_out_as_a_lora_and_comes_in_as_a_concept(
    project: Path, base: Path, tmp_path: Path
) -> None:
    file = tmp_path / "learned.safetensors"
    done = call("export", "--project", project, "--lora", "--rank", "4", file)
    assert done.code == 0, done.err
    assert "% of what was learned" in done.out
    other = tmp_path / "other"
    arguments = ("add-lora", "--project", other, "--base", base, "--weight", "0.5", file)
    dry = call(*arguments, "--dry-run")
    assert dry.code == 0, dry.err
    assert "kohya" in dry.out
    assert "LoRA of" in dry.out
    assert "rank 4" in dry.out
    assert not other.exists()
    done = call(*arguments, "--json")
    assert done.code == 0, done.err
    assert done.json[0]["plan"]["concept"]["token"] == "sks"
    assert "concept 1 is added  in 0:" in done.err
    assert Path(done.json[-1]["result"]["checkpoint"]).is_file()
    assert Project.open(other).concepts[0].settings["weight"] == 0.5
    assert call("status", "--project", other).code == 0
    for wrong in (("--lora", "--to", "comfyui"), ("--lora", "--dtype", "fp32"), ("--rank", "4")):
        refused = call("export", "--project", project, *wrong, tmp_path / "x.safetensors")
        assert refused.code != 0
        assert "--lora" in refused.err


def test_dry_run_says_what_has_been_taught_already(project: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "dog_images")
    done = call("add-concept", "--project", project, "--dry-run", *FAST, folder)
    assert "taught already, as concept 1" in done.out
