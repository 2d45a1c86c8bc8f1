"""Settings written as sd-scripts' file and as clora's own, and read again."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomllib
from cases import check_each
from hypothesis import given, settings
from hypothesis import strategies as st

from clora_ext.config.knob_fields import knob_fields
from clora_ext.config.settings import Settings
from clora_ext.kohya.asked import asked_by
from clora_ext.kohya.check import check
from clora_ext.kohya.finding import errors
from clora_ext.kohya.key import training_keys
from clora_ext.kohya.run_file import run_file_text
from clora_ext.kohya.written import training_file_text
from clora_ext.project import ConceptRecord, Image

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
RATE = st.floats(1e-8, 1.0, allow_nan=False, allow_infinity=False)
SHARE = st.floats(0, 1, allow_nan=False)
# Every setting that sd-scripts has a key for.
KNOBS: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 2**31),
    "rank": st.integers(1, 4096),
    "alpha": st.one_of(st.none(), st.floats(0.01, 4096, allow_nan=False)),
    "text_encoder": st.booleans(),
    "learning_rate": RATE,
    "weight_decay": st.floats(0, 1, allow_nan=False),
    "max_grad_norm": st.floats(0.01, 10, allow_nan=False),
    "steps": st.integers(1, 10**6),
    "warmup_steps": st.integers(0, 10**4),
    "batch_size": st.integers(1, 64),
    "resolution": st.integers(64, 4096),
    "shuffle_caption": st.booleans(),
    "keep_tokens": st.integers(0, 20),
    "keep_tokens_separator": st.one_of(st.none(), TEXT),
    "caption_separator": TEXT,
    "secondary_separator": st.one_of(st.none(), TEXT),
    "caption_prefix": st.one_of(st.none(), TEXT),
    "caption_suffix": st.one_of(st.none(), TEXT),
    "wildcards": st.booleans(),
    "caption_dropout": SHARE,
    "tag_dropout": SHARE,
    "caption_dropout_every": st.integers(0, 9),
    "flip_aug": st.booleans(),
    "random_crop": st.booleans(),
    "color_aug": st.booleans(),
    "masked_loss": st.booleans(),
    "alpha_mask": st.booleans(),
    "clip_skip": st.integers(1, 12),
    "max_token_length": st.sampled_from([75, 150, 225]),
    "gradient_checkpointing": st.booleans(),
    "preview_every": st.integers(0, 1000),
    "validation_split": st.floats(0, 0.99, allow_nan=False),
    "validation_seed": st.integers(0, 2**31),
    "validate_every": st.integers(0, 1000),
    "validate_every_epochs": st.integers(0, 9),
    "preview_every_epochs": st.integers(0, 9),
}


def read(text: str) -> Settings:
    """What a file asks for."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "train.toml"
        file.write_text(text, encoding="utf-8")
        checked = check([file])
        assert not errors(checked.findings), [one.sentence for one in errors(checked.findings)]
        return Settings.of(**asked_by(checked).settings)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(KNOBS))
def test_what_is_written_for_sd_scripts_is_read_again(values: dict[str, Any]) -> None:
    written = Settings.of(strategy="merge", targets="transformer", **values)
    text = training_file_text(written, "a test")
    known = replace(written, sampling=written.sampling)
    again = replace(read(text), strategy="merge")
    assert again == known.with_values(alpha=written.adapter.effective_alpha)
    assert set(tomllib.loads(text)) <= set(training_keys())


def test_epochs_are_written_in_the_place_of_steps() -> None:
    again = read(training_file_text(Settings.of(epochs=3, steps=50), "a test"))
    assert again.schedule.epochs == 3


def test_what_sd_scripts_cannot_do_is_said_in_the_file() -> None:
    text = training_file_text(Settings.of(strategy="mask", targets="attention"), "a test")
    assert "# sd-scripts has nothing like strategy = mask" in text
    assert "# sd-scripts has nothing like targets = attention" in text


def record(of: Settings) -> ConceptRecord:
    """Of a concept that was taught so."""
    return ConceptRecord(
        number=3, token="sks", class_name="dog", images=(Image("a.png", "0" * 64, "a photo"),),
        dataset_fingerprint="0" * 64, strategy=of.strategy, strategy_options=dict(of.strategy_options),
        state_level="L0", settings=of.as_dict(), seed=of.seed, parent_hash="0" * 64, content_hash="0" * 64,
        first_loss=None, last_loss=None, sheet="003-sks-dog.png", created="2026-01-01T00:00:00+00:00",
        clora_version="0",
    )  # fmt: skip


def test_cloras_own_file_gives_back_every_setting() -> None:
    taught = Settings.of(
        strategy="orthogonal", strategy_options={"mode": "paper"}, steps=7, alpha=2.0, caption_prefix="P",
        clip_skip=2, preview_every=5, flip_aug=True, text_encoder=True,
    )  # fmt: skip
    assert read(run_file_text(record(taught))) == taught


WRONG = [
    ("clora = 2", "clora", "this clora knows 1"),
    ("clora = 1\nstratgy = 'mask'", "stratgy", "did you mean strategy?"),
    ("clora = 1\ntoken = 3", "token", "is no text"),
    ("clora = 1\nsettings = 3", "settings", "is no table"),
    ("clora = 1\nstrategy = 'msak'", "strategy", "did you mean 'mask'"),
    ("clora = 1\n[settings]\nranc = 4", "ranc", "did you mean rank?"),
    ("clora = 1\n[settings]\nrank = 0", "rank", "at least 1"),
    ("clora = 1\n[settings]\nsteps = 'many'", "steps", "valid integer"),
]


def test_every_fault_of_cloras_own_file_is_told_with_its_line(tmp_path: Path) -> None:
    def look(case: tuple[str, str, str]) -> None:
        text, key, words = case
        file = tmp_path / "run.toml"
        file.write_text(text, encoding="utf-8")
        (found,) = errors(check([file]).findings)
        assert found.key == key
        assert words in found.sentence
        assert found.line == text.count("\n") + 1

    check_each(WRONG, look)


def test_the_test_knows_every_setting_that_has_a_key() -> None:
    honoured = {key.becomes for key in training_keys().values() if key.verdict == "honour"}
    assert {name for name in knob_fields(Settings) if name in honoured} - {"epochs"} <= set(KNOBS)
