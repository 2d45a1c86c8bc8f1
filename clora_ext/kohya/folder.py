"""A folder as configuration files describe it, as clora takes it."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from clora_ext.config.settings import AugmentationSettings, CaptionSettings, MaskSettings
from clora_ext.data.kohya_buckets import KohyaBuckets
from clora_ext.data.subset import Subset

from .origin import Sourced

__all__ = ["is_held_out", "is_regularisation", "regularisation_of", "subset_of"]

_Group = TypeVar("_Group", AugmentationSettings, CaptionSettings, MaskSettings)

_BUCKETS = {
    "min_bucket_reso": "smallest",
    "max_bucket_reso": "largest",
    "bucket_reso_steps": "step",
    "bucket_no_upscale": "no_upscale",
}


def is_held_out(folder: Sourced) -> bool:
    """Whether a folder is held out of the training whole."""
    return "validation_split" in folder and folder["validation_split"][0] >= 1


def is_regularisation(folder: Sourced) -> bool:
    """Whether its pictures show the class and not the concept."""
    return "regularisation" in folder and bool(folder["regularisation"][0])


def regularisation_of(training: Sourced) -> list[Sourced]:
    """The folder of regularisation pictures that a training file names, if it does."""
    if "regularisation_images" not in training:
        return []
    path, origin = training["regularisation_images"]
    return [{"images": (path, origin), "regularisation": (True, origin)}]


def subset_of(values: Mapping[str, Any], run: Mapping[str, Any]) -> Subset:
    """The folder of these values.

    Args:
        values: by clora's names.
        run: settings of the whole run; what a folder has in common with it is left to it.
    """
    own = {
        name: values[name]
        for name in ("resolution", "batch_size", "validation_seed")
        if name in values and values[name] != run.get(name)
    }
    share = values.get("validation_split", 0.0)
    if share != run.get("validation_split", 0.0):
        own["validation_split"] = share
    regularisation = bool(values.get("regularisation"))
    return Subset(
        folder=values["images"],
        repeats=values.get("repeats"),
        captions=_group(CaptionSettings, values),
        augmentation=_group(AugmentationSettings, values),
        masks=_masks(values, regularisation=regularisation),
        mask_folder=values.get("mask_folder"),
        caption_extension=values.get("caption_extension"),
        default_caption=values.get("default_caption"),
        skipped=values.get("skipped"),
        interpolation=values.get("interpolation") or "lanczos",
        buckets=_buckets(values),
        regularisation=regularisation,
        loss_weight=float(values.get("loss_weight", 1.0)) if regularisation else 1.0,
        preservation=bool(values.get("preservation")),
        sides=values.get("sides"),
        dataset=values.get("dataset", 0),
        **own,
    )


def _masks(values: Mapping[str, Any], *, regularisation: bool) -> MaskSettings:
    """Regularisation pictures have no masks of their own, but may be transparent."""
    masks = _group(MaskSettings, values)
    return replace(masks, masked_loss=False) if regularisation else masks


def _group(kind: type[_Group], values: Mapping[str, Any]) -> _Group:
    return kind(**{one.name: values[one.name] for one in fields(kind) if one.name in values})


def _buckets(values: Mapping[str, Any]) -> KohyaBuckets | None:
    if not values.get("enable_bucket"):
        return None
    return KohyaBuckets(**{name: values[key] for key, name in _BUCKETS.items() if key in values})
