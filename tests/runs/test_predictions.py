"""What a base predicts: shown in the plan, recorded, kept for all later concepts, followed by everything."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each, empty_folder
from diffusers import DDIMScheduler, DDPMScheduler
from learned import Learned
from safetensors import safe_open
from small_runs import another, folder_of, with_source

from clora_ext import Lora, Project, Request, add_concept, export_checkpoint, export_to, families, make_plan
from clora_ext.config.precision import pick_precision
from clora_ext.errors import BaseChanged, CheckpointError, UsageError
from clora_ext.families.sd1 import CONFIG_KEY
from clora_ext.formats.checkpoint import Checkpoint, Source, content_hash, write_checkpoint
from clora_ext.formats.composed import open_model
from clora_ext.formats.prediction import Prediction

V_ZERO = Prediction("v", zero_snr=True)
LDM_V = "model: {params: {parameterization: v, rescale_betas_zero_snr: true}}"


def told(base: Path, target: Path, *tensors: str, **scheduler: object) -> Path:
    """The same model with empty tensors, and another scheduler in its own configuration."""
    old = Checkpoint(base)
    metadata = dict(old.header.metadata)
    config = json.loads(metadata[CONFIG_KEY])
    config["scheduler"] |= scheduler
    sources = {name: Source.copy(old, name) for name in old.names}
    sources |= {name: Source.of(torch.empty(0)) for name in tensors}
    write_checkpoint(target, sources, metadata | {CONFIG_KEY: json.dumps(config)})
    return target


def by_user(request: Request, base: Path) -> Request:
    return replace(request, base=base, prediction="v", zero_snr=True)


def by_yaml(request: Request, base: Path) -> Request:
    file = shutil.copy(base, request.project.parent / "told.safetensors")
    file.with_suffix(".yaml").write_text(LDM_V, encoding="utf-8")
    return replace(request, base=file)


def by_tensors(request: Request, base: Path) -> Request:
    return replace(request, base=told(base, request.project.parent / "told.safetensors", "v_pred", "ztsnr"))


def by_configuration(request: Request, base: Path) -> Request:
    said = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    return replace(request, base=told(base, request.project.parent / "told.safetensors", **said))


Tell = Callable[[Request, Path], Request]
WAYS: list[tuple[Tell, str]] = [
    (by_user, "--prediction and --zero-snr"),
    (by_yaml, "told.yaml"),
    (by_tensors, "the tensor v_pred and the tensor ztsnr"),
    (by_configuration, CONFIG_KEY),
]


def weights(file: Path) -> dict[str, bytes]:
    one = Checkpoint(file)
    return {name: one.read(name).numpy().tobytes() for name in one.names if one.info(name).elements}


@pytest.mark.long
def test_every_way_to_say_it_is_in_the_plan_and_trains_the_same(
    request_: Request, tiny: Path, tmp_path: Path
) -> None:
    trained: dict[str, dict[str, bytes]] = {}

    def check(case: tuple[Tell, str]) -> None:
        tell, source = case
        request = tell(replace(request_, project=empty_folder(tmp_path) / "model"), tiny)
        plan = make_plan(request)
        assert plan.context.prediction == V_ZERO
        assert plan.as_dict()["prediction"]["source"] == source
        result = add_concept(request)
        trained[source] = weights(result.checkpoint)
        base = Project.open(request.project).base
        assert base is not None
        assert (base.prediction, base.zero_snr) == ("v", True)
        alone = open_model(result.checkpoint).header  # any program, without the project
        assert families.detect(alone, tiny).prediction(alone) == V_ZERO

    check_each(WAYS, check)
    first, *others = trained.values()
    assert all(other == first for other in others)
    usual = add_concept(replace(request_, project=tmp_path / "usual"))
    assert weights(usual.checkpoint) != first
    assert not any(key.startswith("clora.pred") for key in Checkpoint(usual.checkpoint).header.metadata)


@pytest.mark.long
def test_a_project_keeps_to_what_was_said_and_refuses_otherwise(
    request_: Request, tiny: Path, learned: Learned
) -> None:
    learned(by_user(request_, tiny))
    second = another(request_, "cat_images")
    plan = make_plan(second)
    assert plan.context.prediction == V_ZERO
    assert plan.context.prediction.source == "the project"
    assert make_plan(replace(second, prediction="v", zero_snr=True)).context.prediction == V_ZERO

    def check(case: tuple[dict[str, Any], str]) -> None:
        with pytest.raises(UsageError, match=case[1]) as caught:
            make_plan(replace(second, **case[0]))
        assert "new project" in caught.value.fix

    cases: list[tuple[dict[str, Any], str]] = [
        ({"prediction": "epsilon"}, "--prediction epsilon does not fit .* v, with zero terminal SNR"),
        ({"zero_snr": False}, "--no-zero-snr does not fit"),
        ({"prediction": "v", "zero_snr": False}, "--no-zero-snr does not fit"),
    ]
    check_each(cases, check)
    add_concept(second)
    with Project.writing(request_.project) as project:
        project.undo()
        assert project.base is not None
        assert project.base.prediction == "v"


def test_what_was_said_goes_with_the_base_into_what_can_be_resumed(request_: Request, tiny: Path) -> None:
    plans = {kind: make_plan(replace(request_, prediction=kind)) for kind in ("epsilon", "v", None)}
    assert plans["epsilon"].fingerprint == plans[None].fingerprint != plans["v"].fingerprint
    assert make_plan(by_user(request_, tiny)).fingerprint != plans["v"].fingerprint


def test_an_unknown_word_is_refused_with_the_nearest(request_: Request) -> None:
    with pytest.raises(UsageError, match="unknown prediction 'epsilom'") as caught:
        make_plan(replace(request_, prediction="epsilom"))
    assert "did you mean 'epsilon'" in caught.value.fix


def test_a_base_of_another_process_is_refused_in_the_plan(request_: Request, tiny: Path) -> None:
    file = told(tiny, request_.project.parent / "edm.safetensors", "edm_mean", "edm_std")
    for said in (None, "epsilon"):
        with pytest.raises(CheckpointError, match=r"edm\.safetensors is an EDM model"):
            make_plan(replace(request_, base=file, prediction=said))
    assert not request_.project.exists()


def test_a_recorded_base_is_still_known_by_its_hash(
    request_: Request, tiny: Path, tmp_path: Path, learned: Learned
) -> None:
    learned(by_user(request_, tiny))
    other = told(tiny, tmp_path / "other.safetensors", "v_pred")
    with pytest.raises(BaseChanged):
        make_plan(replace(another(request_, "cat_images"), base=other))


def test_exports_say_what_they_predict(
    request_: Request, tiny: Path, tmp_path: Path, learned: Learned
) -> None:
    result = learned(by_user(request_, tiny))
    exported = export_checkpoint(request_.project, tmp_path / "out.safetensors")
    with safe_open(exported.path, "pt") as opened:
        assert {"v_pred", "ztsnr"} <= set(opened.keys())
        assert opened.metadata()["modelspec.prediction_type"] == "v"
        assert opened.metadata()["modelspec.predict_key"] == "v"
    assert content_hash(Checkpoint(result.checkpoint)) == result.content_hash
    folder = export_to(request_.project, "diffusers", tmp_path / "folder").path
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    assert scheduler["prediction_type"] == "v_prediction"
    assert scheduler["rescale_betas_zero_snr"] is True
    assert scheduler["timestep_spacing"] == "trailing"


@pytest.mark.long
def test_a_marker_that_does_not_hold_is_left_out_of_exports(
    request_: Request, tiny: Path, tmp_path: Path
) -> None:
    file = told(tiny, tmp_path / "told.safetensors", "v_pred", "ztsnr")
    add_concept(replace(request_, base=file, prediction="epsilon", zero_snr=False))
    exported = export_checkpoint(request_.project, tmp_path / "out.safetensors")
    with safe_open(exported.path, "pt") as opened:
        assert not {"v_pred", "ztsnr"} & set(opened.keys())
        assert opened.metadata()["modelspec.prediction_type"] == "epsilon"


def test_the_noise_schedule_is_that_of_diffusers(request_: Request) -> None:
    plain = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}

    def check(case: tuple[str, bool]) -> None:
        kind, zero_snr = case
        context = make_plan(replace(request_, prediction=kind, zero_snr=zero_snr)).context
        model: Any = context.family.load(context.open_current(), pick_precision())
        word = {"epsilon": "epsilon", "v": "v_prediction"}[kind]
        oracle = DDPMScheduler(**plain, prediction_type=word, rescale_betas_zero_snr=zero_snr)
        rng = torch.Generator().manual_seed(1)
        latents, noise = (torch.randn(3, 4, 16, 16, generator=rng) for _ in range(2))
        times = torch.tensor([0, 500, 999])
        assert torch.equal(model.process.scheduler.betas, oracle.betas)
        noised = model.process.noised(latents, noise, times)
        assert torch.equal(noised, oracle.add_noise(latents, noise, times))
        assert torch.equal(noised[2], noise[2]) is zero_snr
        velocity = oracle.get_velocity(latents, noise, times)
        assert torch.equal(model.process.target(latents, noise, times), velocity if kind == "v" else noise)
        sampler = model._pipeline().scheduler
        assert isinstance(sampler, DDIMScheduler)
        assert torch.equal(sampler.alphas_cumprod, oracle.alphas_cumprod)
        sampler.set_timesteps(10)
        # Only v can be sampled from pure noise: epsilon would divide by zero there.
        assert (int(sampler.timesteps[0]) == 999) is (zero_snr and kind == "v")

    check_each([(kind, zero) for kind in ("epsilon", "v") for zero in (False, True)], check)


@pytest.mark.long
def test_a_lora_says_what_it_was_trained_for(request_: Request, tiny: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    add_concept(with_source(by_user(request_, tiny), export_lora=kept))
    metadata = Checkpoint(kept).header.metadata
    assert metadata["modelspec.prediction_type"] == "v"
    assert metadata["ss_v_parameterization"] == metadata["ss_zero_terminal_snr"] == "True"

    def notes(kind: str) -> str:
        plan = make_plan(Request(Lora(kept), tmp_path / "other", base=tiny, token="x", prediction=kind))
        return " ".join(plan.as_dict()["notes"])

    assert "trained on a model that predicts v; this one predicts epsilon" in notes("epsilon")
    assert "trained on a model" not in notes("v")


def test_a_dry_run_of_the_command_shows_it(
    request_: Request, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clora,) = entry_points(group="console_scripts", name="clora")
    base = told(tiny, tmp_path / "told.safetensors", "v_pred")
    images = str(folder_of(request_))
    where = ["--project", str(tmp_path / "new"), "--base", str(base), "--dry-run"]
    assert clora.load()(["add-concept", images, *where]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "predicts v (the tensor v_pred)" in shown
    assert "note: the tensor v_pred says v, clora.config says epsilon: the tensor v_pred counts" in shown
    assert (
        clora.load()(["add-concept", images, *where, "--prediction", "epsilon", "--zero-snr", "--json"]) == 0
    )
    plan = json.loads(capsys.readouterr().out.splitlines()[-1])["result"]["plan"]
    assert (plan["prediction"]["kind"], plan["prediction"]["zero_snr"]) == ("epsilon", True)
    assert plan["prediction"]["source"] == "--prediction and --zero-snr"
    assert "--prediction says epsilon, the tensor v_pred says v" in plan["prediction"]["notes"][0]
    assert clora.load()(["add-concept", images, *where, "--prediction", "sample"]) == 2
