"""What a training's error is, which noise pictures are shown with, and at which times."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from .knob import Knob

__all__ = ["LossSettings", "NoiseSettings", "loss_problems"]


@dataclass(frozen=True, slots=True)
class LossSettings:
    """How an error counts: by its size, and by the time at which it was made."""

    loss_type: Annotated[
        Literal["l2", "l1", "huber", "smooth_l1"],
        Knob("What a difference counts: its square, itself, or (huber, smooth_l1) itself where it is large."),
    ] = "l2"
    huber_schedule: Annotated[
        Literal["snr", "exponential", "constant"],
        Knob("Above which difference huber and smooth_l1 go straight: by the noise, by the time, or always."),
    ] = "snr"
    huber_c: Annotated[
        float, Gt(0), Le(1), Knob("That difference; by a schedule, in the noisiest pictures.", step=0.05)
    ] = 0.1
    huber_scale: Annotated[float, Gt(0), Knob("Multiple of it; snr takes none.", step=0.5)] = 1.0
    min_snr_gamma: Annotated[
        float,
        Ge(0),
        Knob("Errors at little noise count less: by at most this signal-to-noise ratio; 0: as they are."),
    ] = 0.0
    debiased_estimation: Annotated[
        bool, Knob("Errors count by the noise, as for an estimate of the picture itself.")
    ] = False
    scale_v_pred: Annotated[bool, Knob("Errors of v count as if noise were predicted.")] = False
    v_pred_like: Annotated[
        float,
        Ge(0),
        Knob("Errors of noise count so much more as if v were predicted; 0: as they are.", step=0.1),
    ] = 0.0
    min_timestep: Annotated[int, Ge(0), Knob("Least noise that pictures are shown with, of 1000.")] = 0
    max_timestep: Annotated[
        int | None, Ge(1), Knob("Noise below which they are shown, of 1000.", default_text="all of it")
    ] = None


@dataclass(frozen=True, slots=True)
class NoiseSettings:
    """Which noise pictures are shown with."""

    noise_offset: Annotated[
        float, Ge(0), Knob("Noise that is the same all over a channel: for very dark and bright.", step=0.01)
    ] = 0.0
    adaptive_noise_scale: Annotated[
        float,
        Knob("The offset grows by so much of each channel's mean; below 0 it shrinks.", step=0.01),
    ] = 0.0
    noise_offset_random_strength: Annotated[
        bool, Knob("The offset has another strength in every step, up to its own.")
    ] = False
    multires_noise_iterations: Annotated[
        int, Ge(0), Le(16), Knob("Sizes in which noise is added up, from fine to coarse; 0: fine alone.")
    ] = 0
    multires_noise_discount: Annotated[
        float, Gt(0), Le(1), Knob("What each coarser one counts of the one before.", step=0.1)
    ] = 0.3
    ip_noise_gamma: Annotated[
        float,
        Ge(0),
        Knob("Noise beside that which is to be predicted, so that mistakes are less believed.", step=0.05),
    ] = 0.0
    ip_noise_random_strength: Annotated[
        bool, Knob("It has another strength in every step, up to its own.")
    ] = False


def loss_problems(loss: LossSettings, *, predicts: str, zero_snr: bool) -> list[str]:
    """What the model makes impossible, in words.

    Args:
        loss: what is asked for.
        predicts: ``epsilon``, ``v`` or ``flow``.
        zero_snr: whether the noise schedule ends in pure noise: there some weights divide by nothing.
    """
    return [*_by_prediction(loss, predicts, zero_snr=zero_snr), *_by_times(loss)]


def _by_prediction(loss: LossSettings, predicts: str, *, zero_snr: bool) -> Iterator[str]:
    if predicts == "flow":
        yield from _by_flow(loss)
        return
    if loss.scale_v_pred and predicts != "v":
        yield "--scale-v-pred is for a model that predicts v; this one predicts noise"
    if loss.v_pred_like and predicts == "v":
        yield "--v-pred-like is for a model that predicts noise; this one predicts v"
    if not zero_snr or predicts == "v":
        return
    asked = {
        "--min-snr-gamma": loss.min_snr_gamma,
        "--debiased-estimation": loss.debiased_estimation,
        "--v-pred-like": loss.v_pred_like,
    }
    for option, value in asked.items():
        if value:
            yield f"{option} divides by the signal, of which this model's schedule leaves none at its end"


def _by_flow(loss: LossSettings) -> Iterator[str]:
    """What was made for a schedule of noise."""
    asked = {
        "--min-snr-gamma": loss.min_snr_gamma,
        "--debiased-estimation": loss.debiased_estimation,
        "--scale-v-pred": loss.scale_v_pred,
        "--v-pred-like": loss.v_pred_like,
    }
    for option, value in asked.items():
        if value:
            yield f"{option} is for models of diffusion; this one predicts a flow"


def _by_times(loss: LossSettings) -> Iterator[str]:
    most = 1000 if loss.max_timestep is None else loss.max_timestep
    if loss.min_timestep >= most:
        yield f"--min-timestep {loss.min_timestep} is not below --max-timestep {most}"
