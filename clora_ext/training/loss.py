"""What a prediction's error counts: by its size, its place and the time at which it was made."""

import math

import torch
from torch import Tensor

from clora_ext.config.settings import LossSettings
from clora_ext.families.process import Process

__all__ = ["differences", "weights_by_time"]

_LARGEST_RATIO = 1000.0  # where there is hardly any noise, ratios mean nothing


def differences(
    predicted: Tensor, target: Tensor, times: Tensor, process: Process, loss: LossSettings
) -> Tensor:
    """What each difference counts, of the predictions' shape (n, channels, h, w), float32.

    Args:
        predicted: by the denoiser.
        target: what it should have given, float32.
        times: of the pictures, (n,).
        process: of the model.
        loss: what is asked for: l2, l1, or pseudo-Huber (arXiv 2403.16728) with its threshold by time.
    """
    off = predicted.float() - target
    if loss.loss_type == "l2":
        return off.square()
    if loss.loss_type == "l1":
        return off.abs()
    threshold = _threshold(times, process, loss)[:, None, None, None]
    straight = 2 * ((off.square() + threshold.square()).sqrt() - threshold)
    return straight if loss.loss_type == "smooth_l1" else threshold * straight


def _threshold(times: Tensor, process: Process, loss: LossSettings) -> Tensor:
    """The difference above which an error grows straight, (n,)."""
    if loss.huber_schedule == "constant":
        return torch.full_like(times, loss.huber_c * loss.huber_scale, dtype=torch.float32)
    if loss.huber_schedule == "exponential":
        return loss.huber_scale * torch.exp(math.log(loss.huber_c) * times.float() / process.length)
    noise = process.signal_to_noise(times).rsqrt()  # without a signal infinite: then it is huber_c
    return (1 - loss.huber_c) / (1 + noise).square() + loss.huber_c


def weights_by_time(times: Tensor, process: Process, loss: LossSettings) -> Tensor | None:
    """What the error of each picture counts by its time, (n,), float32; None: all alike.

    Min-SNR (arXiv 2303.09556), v scaled like noise and noise like v (sd-scripts), debiased estimation
    (arXiv 2310.08442), one after another.
    """
    asked = (loss.min_snr_gamma, loss.scale_v_pred, loss.v_pred_like, loss.debiased_estimation)
    if not any(asked):
        return None
    ratio, is_v = process.signal_to_noise(times), process.predicts == "v"
    weight = torch.ones_like(ratio)
    if loss.min_snr_gamma:
        weight = weight * ratio.clamp(max=loss.min_snr_gamma) / (ratio + 1 if is_v else ratio)
    capped = ratio.clamp(max=_LARGEST_RATIO)
    share = capped / (capped + 1)
    if loss.scale_v_pred:
        weight = weight * share
    if loss.v_pred_like:
        weight = weight * (1 + loss.v_pred_like / share)
    if loss.debiased_estimation:
        weight = weight * (1 / (capped + 1) if is_v else capped.rsqrt())
    return weight
