"""A model of flow matching built from its configuration and filled from a checkpoint."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clora_ext.config.memory import reporting_out_of_memory
from clora_ext.config.precision import Precision
from clora_ext.errors import UsageError
from clora_ext.families.latent.filling import fill
from clora_ext.families.latent.modules import empty_module
from clora_ext.families.placement import Placement
from clora_ext.families.stored_weights import offload
from clora_ext.families.variant import tell_variant
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.pages import release_on_free

from .model import FlowModel
from .modules import builders, check_words
from .process import FlowProcess
from .shifts import read_shift
from .text import Text, load_reading

if TYPE_CHECKING:
    from .layout import FlowLayout

__all__ = ["load_model"]


@release_on_free()
@reporting_out_of_memory("loading the model")
def load_model(
    family: "FlowLayout",
    checkpoint: Checkpoint,
    config: Mapping[str, Any],
    precision: Precision,
    weights: Mapping[str, Tensor],
) -> FlowModel:
    """Build the modules that ``config`` describes and fill them.

    Args:
        family: of the model.
        checkpoint: of everything.
        config: see :data:`clora_ext.families.flow.kinds.Config`.
        precision: where the model goes and in which dtype; the VAE stays float32.
        weights: float32 matrices by :attr:`Target.name` that stand in for the file's own.

    Raises:
        CheckpointError: tensors are missing, of another shape, or not finite.
        OutOfMemory: it does not fit.
        UsageError: the device computes in float16 alone, which cannot hold what such a model computes.
    """
    if precision.needs_scaling:
        message = f"{config['title']} needs bfloat16 or float32: in float16 it gives no numbers"
        raise UsageError(message, fix="use a GPU with bfloat16 (RTX 30 or newer)")
    check_words(config, checkpoint.path)
    build, tables = builders(family, config), family.tables(dict(config))

    def filled(component: str, dtype: torch.dtype) -> Any:  # noqa: ANN401 - each of another class
        empty = empty_module(build[component], component, checkpoint.path)
        module = fill(empty, tables[component], checkpoint, weights, dtype)
        return module.eval().requires_grad_(requires_grad=False)

    # One card need not hold both: what finds no room goes there when it is asked.
    place = Placement(precision.device, ())
    encoder = filled("text_encoder", precision.frozen)
    conditioner = None if family.conditioner is None else filled("text_conditioner", precision.frozen)
    text = Text(load_reading(config["text"]), encoder, conditioner)
    place.fetch_if_room(text.whole)
    vae = filled("vae", torch.float32).to(precision.device)
    vae.enable_slicing()  # picture by picture, as they take gigabytes
    denoiser = filled("transformer", precision.frozen)
    if precision.offloads_denoiser:
        offload(denoiser, precision.device, precision.frozen)
    elif not precision.shards_denoiser:
        place.fetch_if_room(denoiser)
    told = tell_variant(family.title, family.variants, checkpoint.path, checkpoint.header)
    times = config["times"] if told is None else {**config["times"], **told.variant.times}
    return FlowModel(
        denoiser=denoiser,
        vae=vae,
        text=text,
        process=FlowProcess(read_shift(times["sampling"]), read_shift(times["training"]), config["patch"]),
        precision=precision,
        family=family,
        is_distilled=told is not None and told.variant.is_distilled,
    )
