"""From a folder of images to a checked, captioned and bucketed dataset; importing it imports no torch."""

from clora_ext.data.batches import Batches, Bucketed, batches, steps_per_epoch
from clora_ext.data.buckets import bucket_sizes, check_resolution, nearest
from clora_ext.data.check import check_image
from clora_ext.data.colour import as_rgb
from clora_ext.data.concept import RARE_TOKENS, Concept, name_concept
from clora_ext.data.no_images import refuse_no_folder
from clora_ext.data.picture import Picture, Rejected
from clora_ext.data.pixels import cover_corner, load_image, load_pixels
from clora_ext.data.scan import Dataset, scan
from clora_ext.data.varied_captions import varied_caption

__all__ = [
    "RARE_TOKENS",
    "Batches",
    "Bucketed",
    "Concept",
    "Dataset",
    "Picture",
    "Rejected",
    "as_rgb",
    "batches",
    "bucket_sizes",
    "check_image",
    "check_resolution",
    "cover_corner",
    "load_image",
    "load_pixels",
    "name_concept",
    "nearest",
    "refuse_no_folder",
    "scan",
    "steps_per_epoch",
    "varied_caption",
]
