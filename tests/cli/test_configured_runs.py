"""`clora add-concept --config`: the same run as by flags, and nothing started where a file is wrong."""

from pathlib import Path

import pytest
from calling import call
from whole_runs import content, pictures

from clora_ext.project import Project

TRAIN = """[model]
pretrained_model_name_or_path = "{base}"
[network]
network_module = "networks.lora"
network_dim = 2
network_alpha = 2
[training]
unet_lr = 1e-3
text_encoder_lr = 0
optimizer_type = "AdamW"
optimizer_args = ["weight_decay=1e-4"]
lr_scheduler = "constant_with_warmup"
lr_warmup_steps = 1
max_train_epochs = 2
train_batch_size = 2
seed = 5
output_dir = "loras"
output_name = "dog"
dataset_config = "data.toml"
"""
DATA = """[[datasets]]
[[datasets.subsets]]
image_dir = "dog_images"
num_repeats = 3
"""
FLAGS = [
    "--rank",
    "2",
    "--alpha",
    "2",
    "--learning-rate",
    "1e-3",
    "--weight-decay",
    "1e-4",
    "--warmup-steps",
    "1",
]
FLAGS += ["--steps", "6", "--batch-size", "2", "--seed", "5", "--targets", "transformer"]
QUICK = ["--sample-steps", "2", "--sample-count", "1", "--kept-count", "0", "--strategy", "merge"]


@pytest.fixture
def folder(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pictures(tmp_path / "dog_images")
    (tmp_path / "train.toml").write_text(TRAIN.format(base=base))
    (tmp_path / "data.toml").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
def test_a_file_and_flags_that_say_the_same_make_the_same_model(base: Path, folder: Path) -> None:
    by_flags = call("add-concept", "--base", base, "--project", "flags", *FLAGS, *QUICK, "dog_images")
    assert by_flags.code == 0, by_flags.err
    by_file = call("add-concept", "--config", "train.toml", "--project", "file", *QUICK)
    assert by_file.code == 0, by_file.err
    assert "6 steps, 2 epochs, of 2" in by_file.out
    made = [Project.open(Path(name)).concepts[0].content_hash for name in ("file", "flags")]
    assert made[0] == made[1]
    assert (folder / "loras" / "dog.safetensors").is_file()


def test_a_flag_counts_more_and_the_plan_says_so(folder: Path) -> None:
    called = call("add-concept", "--config", "train.toml", "--seed", "9", "--dry-run", *QUICK)
    assert called.code == 0, called.err
    assert "note: train.toml:16  seed = 5: --seed 9 counts more" in called.out
    assert "seed 9" in called.out
    assert not (folder / "clora-model").exists()


def test_a_flag_for_weights_and_biases_counts_more_too(folder: Path) -> None:
    file = folder / "train.toml"
    tracker = 'log_with = "wandb"\nlog_tracker_name = "dogs"\n'
    file.write_text(file.read_text() + tracker)
    called = call("add-concept", "--config", file, "--wandb", "a/b", "--dry-run", *QUICK)
    assert "log_tracker_name = dogs: --wandb a/b counts more" in called.out
    assert called.code != 0  # for want of the program, or for that name
    assert not (folder / "clora-model").exists()


def test_a_wrong_file_starts_nothing(folder: Path) -> None:
    before = content(folder)
    (folder / "data.toml").write_text(DATA.replace("num_repeats", "num_repeat"))
    (folder / "train.toml").write_text((folder / "train.toml").read_text().replace("seed", "sead"))
    called = call("add-concept", "--config", "train.toml", *QUICK)
    assert called.code == 2
    assert "train.toml:16  sead: sd-scripts has no such option; did you mean seed?" in called.err
    assert "data.toml:4    num_repeat: sd-scripts has no such option; did you mean num_repeats?" in called.err
    assert "2 errors in 2 files; nothing was started" in called.err
    assert content(folder).keys() == before.keys()


def test_without_pictures_there_is_nothing_to_train_on(folder: Path) -> None:
    (folder / "train.toml").write_text("learning_rate = 1e-4\n")
    called = call("add-concept", "--config", "train.toml", *QUICK)
    assert (called.code, "no pictures are named" in called.err) == (2, True)
