"""Settings written as sd-scripts' file and as clora's own, and read again."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import tomllib
from cases import check_each
from hypothesis import given, settings
from hypothesis import strategies as st

from clora_ext.config.algorithm_settings import OPTIMIZERS
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
    "max_grad_norm": st.floats(0, 10, allow_nan=False),
    "optimizer_type": st.sampled_from(sorted(OPTIMIZERS)),
    "optimizer_args": st.sampled_from([None, "betas=0.9,0.99", "a=1 b=(2,3) c=x"]),
    "text_encoder_lr": st.one_of(st.none(), RATE),
    "loraplus_ratio": st.one_of(st.none(), st.floats(0.5, 32)),
    "loraplus_unet_ratio": st.one_of(st.none(), st.floats(0.5, 32)),
    "loraplus_text_ratio": st.one_of(st.none(), st.floats(0.5, 32)),
    "gradient_accumulation_steps": st.integers(1, 99),
    "steps": st.integers(1, 10**6),
    "warmup_steps": st.integers(0, 10**4),
    "batch_size": st.integers(1, 64),
    "resolution": st.integers(64, 4096),
    "preview_at_first": st.booleans(),
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
    "torch_compile": st.booleans(),
    "fp8_base": st.booleans(),
    "text_encoder_only": st.booleans(),
    "network_dropout": st.floats(0, 0.99),
    "rank_dropout": st.floats(0, 0.99),
    "module_dropout": st.floats(0, 0.99),
    "conv_rank": st.one_of(st.none(), st.integers(1, 64)),
    "dora": st.booleans(),
    "scale_weight_norms": st.one_of(st.none(), st.floats(0.01, 9)),
    "clip_skip": st.integers(1, 12),
    "max_token_length": st.sampled_from([75, 150, 225]),
    "gradient_checkpointing": st.booleans(),
    "preview_every": st.integers(0, 1000),
    "validation_split": st.floats(0, 0.99, allow_nan=False),
    "validation_seed": st.integers(0, 2**31),
    "validate_every": st.integers(0, 1000),
    "validate_every_epochs": st.integers(0, 9),
    "preview_every_epochs": st.integers(0, 9),
    "loss_type": st.sampled_from(["l2", "l1", "huber", "smooth_l1"]),
    "huber_schedule": st.sampled_from(["snr", "exponential", "constant"]),
    "huber_c": st.floats(0.01, 1),
    "huber_scale": st.floats(0.1, 9),
    "min_snr_gamma": st.floats(0, 20),
    "debiased_estimation": st.booleans(),
    "scale_v_pred": st.booleans(),
    "v_pred_like": st.floats(0, 1),
    "min_timestep": st.integers(0, 500),
    "max_timestep": st.one_of(st.none(), st.integers(501, 999)),
    "noise_offset": st.floats(0.01, 1),
    "noise_offset_random_strength": st.booleans(),
    "adaptive_noise_scale": st.floats(-1, 1),
    "multires_noise_iterations": st.integers(0, 10),
    "multires_noise_discount": st.floats(0.01, 1),
    "ip_noise_gamma": st.floats(0, 1),
    "ip_noise_random_strength": st.booleans(),
}


def of_rates(scheduler: str, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A scheduler and what it reads."""
    return st.fixed_dictionaries({"lr_scheduler": st.just(scheduler), **values})


RATES = st.one_of(
    of_rates("constant", warmup_share=SHARE.filter(lambda share: share < 1)),
    of_rates("linear"),
    of_rates("cosine", lr_cycles=st.one_of(st.none(), st.floats(0.1, 9))),
    of_rates("cosine_with_restarts", lr_cycles=st.one_of(st.none(), st.integers(2, 9).map(float))),
    of_rates("polynomial", lr_power=st.floats(0.1, 4), lr_end=st.floats(1e-9, 1e-8)),
    of_rates("inverse_sqrt", lr_timescale=st.one_of(st.none(), st.integers(1, 10**6))),
    of_rates(
        "cosine_with_min_lr",
        lr_min_ratio=st.floats(0, 0.9),
        lr_cycles=st.one_of(st.none(), st.integers(2, 9).map(lambda count: count / 2)),
    ),
    of_rates("warmup_stable_decay", lr_min_ratio=st.floats(0, 0.9), lr_decay_steps=st.integers(1, 99)),
    of_rates("warmup_stable_decay", lr_decay_share=st.floats(0.01, 0.9)),
    of_rates("piecewise_constant", lr_step_rules=st.just("1:10,0.1:20,0.01"), warmup_steps=st.just(0)),
)

OF_RATES = {"lr_scheduler", "lr_cycles", "lr_power", "lr_timescale", "lr_min_ratio", "lr_decay_steps"}


def read(text: str) -> Settings:
    """What a file asks for."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "train.toml"
        file.write_text(text, encoding="utf-8")
        checked = check([file])
        assert not errors(checked.findings), [one.sentence for one in errors(checked.findings)]
        return Settings.of(**asked_by(checked).settings)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(KNOBS), RATES)
def test_what_is_written_for_sd_scripts_is_read_again(values: dict[str, Any], rates: dict[str, Any]) -> None:
    if rates.get("warmup_share"):  # in the place of steps
        rates = {**rates, "warmup_steps": 0}
    written = Settings.of(strategy="merge", targets="transformer", **{**values, **rates})
    text = training_file_text(written, "a test")
    known = replace(written, sampling=written.sampling)
    again = replace(read(text), strategy="merge")
    rank, rate = written.network.conv_rank, written.algorithm.text_encoder_lr
    if written.network.text_encoder_only:  # then that is the rate of all that is taught
        rate = rate or written.optimizer.learning_rate
        known = known.with_values(learning_rate=rate, text_encoder_lr=None)
    assert again == known.with_values(
        alpha=written.adapter.effective_alpha,
        conv_alpha=None if rank is None else float(rank),
        text_encoder=written.teaches_text,
        dora=written.network.dora and "lycoris.kohya" in text,
    )
    assert ("nothing like dora" in text) == (written.network.dora and "lycoris.kohya" not in text)
    assert set(tomllib.loads(text)) <= set(training_keys())


def test_a_strength_by_the_rank_s_root_is_written_as_the_alpha_that_gives_it() -> None:
    again = read(training_file_text(Settings.of(rslora=True, rank=16, alpha=2.0, conv_rank=4), "a test"))
    assert (again.adapter.alpha, again.network.conv_alpha, again.network.rslora) == (8.0, 8.0, False)


def test_magnitudes_are_written_for_lycoris_where_it_has_the_same_and_else_said() -> None:
    dora = Settings.of(dora=True, rank=16, rslora=True, alpha=2.0, module_dropout=0.1, text_encoder=True)
    text = training_file_text(dora, "a test")
    assert tomllib.loads(text)["network_module"] == "lycoris.kohya"
    assert "nothing like dora" not in text
    again = read(text)
    assert again.network == dora.with_values(rslora=False).network
    assert again.adapter.alpha == 8.0
    for beside in ({"conv_rank": 4}, {"rank_dropout": 0.1}, {"network_dropout": 0.1}):
        text = training_file_text(dora.with_values(**beside), "a test")
        assert tomllib.loads(text)["network_module"] == "networks.lora"
        assert "# sd-scripts has nothing like dora = True" in text
        assert not read(text).network.dora


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
    assert {name for name in knob_fields(Settings) if name in honoured} - {"epochs"} <= {*KNOBS, *OF_RATES}
