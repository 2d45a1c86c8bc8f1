"""The demo by a training file of sd-scripts: stopped twice, it is the same model, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from clora_ext import Project

EXAMPLES = Path(__file__).parents[2] / "examples"
TRAIN = """network_module = "networks.lora"
network_dim = 8
network_alpha = 8
learning_rate = 2e-3
max_train_epochs = 12
lr_scheduler = "constant_with_warmup"
lr_warmup_steps = 10
resolution = "64,64"
shuffle_caption = true
keep_tokens = 1
caption_dropout_rate = 0.1
dataset_config = "data.toml"
seed = 3
"""
DATA = """[general]
caption_extension = ".txt"
enable_bucket = true
min_bucket_reso = 32
max_bucket_reso = 128
bucket_reso_steps = 16

[[datasets]]
batch_size = 4

  [[datasets.subsets]]
  image_dir = {dogs!r}
  num_repeats = 4
  flip_aug = true
  random_crop = true

  [[datasets.subsets]]
  image_dir = {toys!r}
  is_reg = true
  class_tokens = "toy"
"""

pytestmark = pytest.mark.slow


def command(folder: Path, project: str) -> Sequence[str | Path]:
    """As a person types it."""
    arguments = ("add-concept", "--config", folder / "train.toml", "--project", folder / project)
    clora = Path(sys.executable).with_name("clora")
    return (clora, *arguments, "--token", "sks", "--class-name", "dog")


def stopped_after(seconds: float, folder: Path) -> bool:
    """Start, and press Ctrl-C once it trains and some time has passed; False: it had ended."""
    running = subprocess.Popen(
        command(folder, "stopped"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    )
    began = time.monotonic()
    state = folder / "stopped" / "training"
    while running.poll() is None and not (state.is_dir() and time.monotonic() - began > seconds):
        time.sleep(0.2)
    if running.poll() is not None:
        return False
    running.send_signal(signal.SIGINT)
    running.wait(timeout=120)
    return True


def test_a_demo_by_files_of_sd_scripts_is_the_same_after_two_stops(tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_text(TRAIN, encoding="utf-8")
    dogs, toys = (str(EXAMPLES / name) for name in ("dog_images", "robot_toy"))
    (tmp_path / "data.toml").write_text(DATA.format(dogs=dogs, toys=toys), encoding="utf-8")
    subprocess.run(command(tmp_path, "straight"), check=True, capture_output=True, timeout=1200)
    assert stopped_after(20, tmp_path)
    assert stopped_after(30, tmp_path)
    assert not Project.open(tmp_path / "stopped").concepts
    subprocess.run(command(tmp_path, "stopped"), check=True, capture_output=True, timeout=1200)
    straight, again = (Project.open(tmp_path / name).concepts[0] for name in ("straight", "stopped"))
    assert again.content_hash == straight.content_hash
    assert again.settings == straight.settings
