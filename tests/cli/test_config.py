"""`clora config check`: what people and programs see."""

import subprocess
import sys
from pathlib import Path

import pytest
from calling import call

TRAIN = """learning_rat = 1e-4
lr_warmup_steps = 10.0
network_module = "lycoris.kohya"
dataset_config = "data.toml"
"""
DATA = """[[datasets]]
resolution = "512,512"
[[datasets.subsets]]
image_dir = 'x'
"""


EVERY_FAULT = """\
train.toml:1  learning_rat: sd-scripts has no such option; did you mean learning_rate?
train.toml:2  lr_warmup_steps = 10.0: with a point it is a share, 10 times the whole run; write 10 or 0.1
train.toml:3  network_module = "lycoris.kohya": not a plain LoRA but LyCORIS, \
of which clora trains a DoRA alone; as network_args: algo=lora, preset=attn-mlp, dora_wd=True
data.toml:2   resolution = "512,512": read as [512, 512]   (note)
3 errors, 1 note in 2 files; nothing was started
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.toml").write_text(TRAIN)
    (tmp_path / "data.toml").write_text(DATA)
    return tmp_path


def test_every_fault_is_one_line(files: Path) -> None:
    called = call("config", "check", "train.toml")
    assert called.code == 2
    assert called.err == ""
    assert called.out == EVERY_FAULT


def test_programs_get_every_key(files: Path) -> None:
    called = call("config", "check", "train.toml", "--json")
    assert called.code == 2
    found = called.json[-1]["result"]["findings"]
    assert [(one["key"], one["verdict"]) for one in found] == [
        ("learning_rat", "error"),
        ("lr_warmup_steps", "error"),
        ("network_module", "refuse"),
        ("dataset_config", "honour"),
        ("resolution", "honour"),
        ("image_dir", "honour"),
    ]
    assert found[0] == {
        "file": "train.toml",
        "line": 1,
        "key": "learning_rat",
        "verdict": "error",
        "message": "sd-scripts has no such option",
        "suggestion": "did you mean learning_rate?",
    }


def test_good_files_are_good(files: Path) -> None:
    called = call("config", "check", "data.toml")
    assert called.code == 0
    assert called.out.splitlines()[-1].endswith("0 errors, 1 note in 1 file")
    assert sorted(path.name for path in files.iterdir()) == ["data.toml", "train.toml"]


def test_names_and_values_of_strangers_steer_no_terminal(files: Path) -> None:
    (files / "evil.toml").write_text('"\\u001b[2Jseed" = 1\noutput_name = "\\u001b[2J/x"\nlearning_rate = 1')
    called = call("config", "check", "evil.toml")
    assert called.code == 2
    assert "\x1b" not in called.out


def test_it_needs_no_torch(files: Path) -> None:
    script = (
        "import sys, clora_ext.cli.app as app; app.main(['config', 'check', 'train.toml']); "
        "assert not {'torch', 'numpy'} & sys.modules.keys(), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=files)
