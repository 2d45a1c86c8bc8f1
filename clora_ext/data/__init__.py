"""From a folder of images to a checked, captioned and bucketed dataset; importing it imports no torch."""

from clora_ext.data.batches import Batches, Bucketed, batches, steps_per_epoch
from clora_ext.data.buckets import bucket_sizes, check_resolution, nearest
from clora_ext.data.check import check_image
from clora_ext.data.colour import as_rgb
from clora_ext.data.concept import RARE_TOKENS, Concept, name_concept
from clora_ext.data.cut import Cut, covering
from clora_ext.data.joined import joined
from clora_ext.data.kohya_buckets import KohyaBuckets
from clora_ext.data.mask import Mask, load_mask
from clora_ext.data.no_images import refuse_no_folder
from clora_ext.data.picture import Picture, Rejected
from clora_ext.data.pixels import as_pixels, cut_out, load_image, load_pixels, load_whole
from clora_ext.data.scan import Dataset, scan, scan_subset
from clora_ext.data.subset import Subset
from clora_ext.data.validation import held_out_of
from clora_ext.data.varied_captions import varied_caption
from clora_ext.data.varied_colours import varied_colours

__all__ = [
    "RARE_TOKENS",
    "Batches",
    "Bucketed",
    "Concept",
    "Cut",
    "Dataset",
    "KohyaBuckets",
    "Mask",
    "Picture",
    "Rejected",
    "Subset",
    "as_pixels",
    "as_rgb",
    "batches",
    "bucket_sizes",
    "check_image",
    "check_resolution",
    "covering",
    "cut_out",
    "held_out_of",
    "joined",
    "load_image",
    "load_mask",
    "load_pixels",
    "load_whole",
    "name_concept",
    "nearest",
    "refuse_no_folder",
    "scan",
    "scan_subset",
    "steps_per_epoch",
    "varied_caption",
    "varied_colours",
]
