"""What a network predicts, found in every place that tells it."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cases import check_each, empty_folder
from real_shapes import sd1_header, sdxl_header

from clora_ext import families
from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header, TensorInfo
from clora_ext.formats.models import statements_beside
from clora_ext.formats.prediction import Prediction, find_prediction, markers_of, say
from clora_ext.formats.statements import Statement, scheduler_statement, yaml_statement

HERE = Path("model.safetensors")
EMPTY = TensorInfo("F32", (0,), 0, 0)
LDM = "model: {target: ldm.models.diffusion.ddpm.LatentDiffusion, params: {use_ema: false, %s}}"
SGM = "model: {params: {denoiser_config: {params: {scaling_config: {target: sgm.denoiser_scaling.%s}}}}}"

Found = tuple[str, bool]


def header(metadata: Mapping[str, str] | None = None, *tensors: str) -> Header:
    return Header(dict.fromkeys(tensors, EMPTY), metadata or {})


def found(one: Header) -> Found:
    prediction = find_prediction(one, HERE)
    return prediction.kind, prediction.zero_snr


HEADERS: list[tuple[Header, Found]] = [
    (header(), ("epsilon", False)),
    (header(None, "vae_pred"), ("epsilon", False)),
    (header(None, "v_pred"), ("v", False)),
    (header(None, "v_pred", "ztsnr"), ("v", True)),
    (header(None, "ztsnr"), ("epsilon", True)),
    (header(None, "edm_mean"), ("epsilon", False)),  # Playground's has edm_std beside it
    (header({"modelspec.prediction_type": "v"}), ("v", False)),
    (header({"modelspec.prediction_type": " V-Prediction "}), ("v", False)),
    (header({"modelspec.prediction_type": "epsilon"}), ("epsilon", False)),
    (header({"modelspec.prediction_type": "None", "modelspec.predict_key": "v"}), ("v", False)),
    (header({"modelspec.predict_key": "v_prediction"}), ("v", False)),
    (header({"modelspec.prediction_type": "eps", "ss_zero_terminal_snr": "True"}), ("epsilon", True)),
    (header({"ss_v_parameterization": "True"}), ("v", False)),
    (header({"ss_v_parameterization": "true", "ss_zero_terminal_snr": "1"}), ("v", True)),
    (header({"ss_v_parameterization": "False", "ss_zero_terminal_snr": "False"}), ("epsilon", False)),
    (header({"ss_v_parameterization": "None"}), ("epsilon", False)),
    (header(Prediction("v", zero_snr=True).metadata), ("v", True)),
    (header(Prediction().metadata, "v_pred", "ztsnr"), ("epsilon", False)),
    (header({"modelspec.prediction_type": "epsilon"}, "v_pred"), ("v", False)),
    (header({"modelspec.prediction_type": "banana"}, "v_pred"), ("v", False)),
    (say(header(None, "v_pred", "ztsnr"), Statement("--prediction", "epsilon")), ("epsilon", True)),
    (say(header(None, "v_pred", "ztsnr"), Statement("--no-zero-snr", None, zero_snr=False)), ("v", False)),
    (say(header(), Statement("a", None, zero_snr=True), Statement("b", "v")), ("v", True)),
]


def test_headers_say_it_in_every_way_that_is_in_use() -> None:
    def check(case: tuple[Header, Found]) -> None:
        assert found(case[0]) == case[1]

    check_each(HEADERS, check)


def test_both_families_follow_every_source() -> None:
    def check(case: tuple[Header, Found]) -> None:
        said, (kind, zero_snr) = case
        for name, plain in (("sd1", sd1_header()), ("sdxl", sdxl_header())):
            model = Header({**plain.tensors, **said.tensors}, said.metadata, 0, said.statements)
            family: Any = families.detect(model, HERE)
            scheduler = family.config(model, HERE)["scheduler"]
            word = {"epsilon": "epsilon", "v": "v_prediction"}[kind]
            assert (family.name, scheduler["prediction_type"]) == (name, word)
            assert scheduler["rescale_betas_zero_snr"] is zero_snr

    check_each(HEADERS[:12] + HEADERS[-3:], check)


SCHEDULERS: list[tuple[dict[str, Any], Found]] = [
    ({}, ("epsilon", False)),
    ({"prediction_type": "epsilon", "rescale_betas_zero_snr": True}, ("epsilon", True)),
    ({"prediction_type": "v_prediction"}, ("v", False)),
    ({"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction"}, ("v", False)),
    ({"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, ("v", True)),
]


def test_schedulers_of_diffusers_say_it() -> None:
    def check(case: tuple[dict[str, Any], Found]) -> None:
        assert found(say(header(), scheduler_statement(case[0], "x"))) == case[1]

    check_each(SCHEDULERS, check)


REFUSED: list[tuple[Header, str]] = [
    (header(None, "edm_mean", "edm_std"), "is an EDM model: the tensor edm_mean"),
    (header(None, "edm_vpred.sigma_max"), "is an EDM model: the tensor edm_vpred.sigma_max"),
    (header({"modelspec.prediction_type": "edm"}), "is an EDM model: modelspec.prediction_type"),
    (header({"modelspec.prediction_type": "sample"}), r"predicts the picture itself \('sample'\)"),
    (header({"modelspec.predict_key": "x0"}), "predicts the picture itself"),
    (header({"modelspec.prediction_type": "flow_matching"}), "is a flow-matching model"),
    (header({"modelspec.prediction_type": "rectified flow"}), "is a flow-matching model"),
    *(
        (say(header(), scheduler_statement(config, "scheduler_config.json")), words)
        for config, words in (
            ({"_class_name": "EDMDPMSolverMultistepScheduler", "prediction_type": "epsilon"}, "an EDM model"),
            ({"_class_name": "EDMEulerScheduler"}, "an EDM model"),
            ({"timestep_type": "continuous", "prediction_type": "v_prediction"}, "an EDM model"),
            ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "a flow-matching model"),
            ({"use_flow_sigmas": True, "prediction_type": "epsilon"}, "a flow-matching model"),
            ({"prediction_type": "flow_prediction"}, "a flow-matching model"),
            ({"prediction_type": "sample"}, "predicts the picture itself"),
        )
    ),
    (header({"modelspec.prediction_type": "banana"}), "says that the model predicts 'banana'"),
    (say(header(), Statement("s", "[1, 2]")), "predicts '\\[1, 2\\]', which is not known"),
]


def test_what_cannot_be_trained_is_refused_by_its_name() -> None:
    def check(case: tuple[Header, str]) -> None:
        with pytest.raises(CheckpointError, match=case[1]):
            find_prediction(case[0], HERE)
        known_kind = "not known" not in case[1] and "banana" not in case[1]
        insisting = say(case[0], Statement("--prediction", "epsilon"))
        if known_kind:  # nobody can make another process of it by saying so
            with pytest.raises(CheckpointError, match=case[1]):
                find_prediction(insisting, HERE)
        else:
            assert find_prediction(insisting, HERE).kind == "epsilon"

    check_each(REFUSED, check)


def test_whoever_says_otherwise_is_named_with_the_one_that_counts() -> None:
    one = header({"modelspec.prediction_type": "epsilon", "ss_zero_terminal_snr": "False"}, "v_pred", "ztsnr")
    prediction = find_prediction(one, HERE)
    assert prediction == Prediction("v", zero_snr=True)
    assert prediction.source == "the tensor v_pred and the tensor ztsnr"
    counts = "the tensor ztsnr counts"
    assert prediction.notes == (
        "the tensor v_pred says v, modelspec.prediction_type says epsilon: the tensor v_pred counts",
        f"the tensor ztsnr says with zero terminal SNR, ss_zero_terminal_snr says without: {counts}",
    )
    assert find_prediction(header({"modelspec.prediction_type": "v"}, "v_pred"), HERE).notes == ()


def test_markers_are_those_that_comfyui_reads() -> None:
    kinds = [Prediction(kind, zero) for kind in ("epsilon", "v") for zero in (False, True)]  # type: ignore[arg-type]
    assert [markers_of(kind) for kind in kinds] == [(), ("ztsnr",), ("v_pred",), ("v_pred", "ztsnr")]
    for kind in kinds:
        assert found(header(None, *markers_of(kind))) == (kind.kind, kind.zero_snr)


YAMLS: list[tuple[str, Found]] = [
    (LDM % 'parameterization: "v"', ("v", False)),
    (LDM % "parameterization: v, rescale_betas_zero_snr: True", ("v", True)),
    (LDM % "parameterization: eps, zero_terminal_snr: yes", ("epsilon", True)),
    (LDM % "parameterization: v, zsnr: false", ("v", False)),
    (LDM % "timesteps: 1000", ("epsilon", False)),
    (SGM % "VScaling", ("v", False)),
    (SGM % "EpsScaling", ("epsilon", False)),
    (json.dumps({"model": {"params": {"parameterization": "v"}}}), ("v", False)),
    ("\ufeff" + LDM % "parameterization: v", ("v", False)),
    (LDM % "parameterization: eps, parameterization: v", ("v", False)),
    ("", ("epsilon", False)),
    ("- a\n- b", ("epsilon", False)),
    ("model: {params: [v]}", ("epsilon", False)),
    ("? [a, b]\n: c\nmodel: {params: {parameterization: v}}", ("v", False)),
    ("a: &a {parameterization: v}\nmodel: {params: *a}", ("v", False)),
]


def beside(folder: Path, text: str | bytes) -> Path:
    """A checkpoint's name with a .yaml beside it."""
    content = text if isinstance(text, bytes) else text.encode("utf-8")
    (folder / "my.model.yaml").write_bytes(content)
    return folder / "my.model.safetensors"


def test_a_yaml_beside_the_checkpoint_says_it(tmp_path: Path) -> None:
    def check(case: tuple[str, Found]) -> None:
        file = beside(empty_folder(tmp_path), case[0])
        assert found(say(header(), *statements_beside(file))) == case[1]

    check_each(YAMLS, check)
    assert yaml_statement(tmp_path / "none.safetensors") is None


def test_a_yaml_counts_more_than_the_file_and_is_named(tmp_path: Path) -> None:
    file = beside(tmp_path, LDM % "parameterization: v")
    said = say(header({"modelspec.prediction_type": "epsilon"}), *statements_beside(file))
    prediction = find_prediction(said, file)
    assert (prediction.kind, prediction.source) == ("v", "my.model.yaml")
    assert "modelspec.prediction_type says epsilon: my.model.yaml counts" in prediction.notes[0]


def test_a_yaml_of_another_process_is_refused(tmp_path: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        file = beside(empty_folder(tmp_path), case[0])
        with pytest.raises(CheckpointError, match=case[1]):
            find_prediction(say(header(), *statements_beside(file)), file)

    cases = [
        (LDM % "parameterization: x0", "predicts the picture itself"),
        (SGM % "EDMScaling", "is an EDM model"),
        (SGM % "VScalingWithEDMcNoise", "is an EDM model"),
        (SGM % "BananaScaling", "'BananaScaling', which is not known"),
    ]
    check_each(cases, check)


HOSTILE: list[bytes] = [
    b"x: " + b"a" * (1 << 14),
    b"[" * 16_000,
    b"{a: " * 4_000,
    b"- " * 8_000,
    b"model: !!python/object/apply:os.system [echo]\n: :",
    b"\xff\xfe\x00",
    b"a: 'never ends",
    b"--- a\n--- b",
    b"a: *nowhere",
    b"\x00",
]


def test_a_hostile_yaml_costs_little_and_is_refused(tmp_path: Path) -> None:
    def check(text: bytes) -> None:
        began = time.monotonic()
        with pytest.raises(CheckpointError, match=r"my\.model\.yaml, which should say"):
            yaml_statement(beside(empty_folder(tmp_path), text))
        assert time.monotonic() - began < 5

    check_each(HOSTILE, check)


def test_aliases_and_merges_in_a_yaml_do_not_grow(tmp_path: Path) -> None:
    levels = ["a0: &a0 {parameterization: v}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 36)]
    file = beside(tmp_path, "\n".join([*levels, "model: {params: {<<: *a35, parameterization: eps}}"]))
    began = time.monotonic()
    assert yaml_statement(file) == Statement("my.model.yaml", "eps")
    assert time.monotonic() - began < 5


def test_a_tag_in_a_yaml_makes_nothing(tmp_path: Path) -> None:
    text = f"model: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'made'}]"
    assert yaml_statement(beside(tmp_path, text)) is None
    assert not (tmp_path / "made").exists()
