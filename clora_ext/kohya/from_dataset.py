"""What a dataset file asks of clora, by clora's names: one set of values for each folder."""

from collections.abc import Iterator

from .dataset_file import Dataset, DatasetFile, Subset
from .origin import Sourced, of_default, of_given, path_from, settings_as_written
from .sides import side_of, sides_of

__all__ = ["PRESERVATION", "folders_of", "from_dataset"]

PRESERVATION = "diff_output_preservation"
"""The one of sd-scripts' custom attributes that a Stable Diffusion model knows."""


def from_dataset(file: DatasetFile) -> list[Sourced]:
    """The values of each folder, in the file's order."""
    return [
        _from_subset(file, number, dataset, subset)
        for number, dataset in enumerate(file.datasets)
        for subset in folders_of(dataset)
    ]


def folders_of(dataset: Dataset) -> Iterator[Subset]:
    """The dataset's folders; one that is named twice counts once, as in sd-scripts."""
    seen = set()
    for subset in dataset.subsets:
        folder = subset.given["image_dir"].value if "image_dir" in subset.given else None
        if folder not in seen:
            yield subset
        seen.add(folder)


def _from_subset(file: DatasetFile, number: int, dataset: Dataset, subset: Subset) -> Sourced:
    given = {**dataset.given, **subset.given}
    found = settings_as_written(given)
    if "resolution" in given:
        size = given["resolution"]
        found["resolution"] = (side_of(size.value), of_given(size))
        found["sides"] = (sides_of(size.value), of_given(size))
    if "skip_image_resolution" in given:
        skipped = given["skip_image_resolution"]
        found["skipped"] = ((skipped.value[0], skipped.value[1]), of_given(skipped))
    folder = given["image_dir"]
    found["images"] = (path_from(file.path.parent, folder.value), of_given(folder))
    if "conditioning_data_dir" in given:
        masks = given["conditioning_data_dir"]
        found["mask_folder"] = (path_from(file.path.parent, masks.value), of_given(masks))
    if "custom_attributes" in given:
        attributes = given["custom_attributes"]
        found["preservation"] = (attributes.value.get(PRESERVATION, False), of_given(attributes))
    found["dataset"] = (number, of_given(folder))
    # Without num_repeats sd-scripts counts a folder once, whatever number is in its name.
    if "repeats" not in found:
        found["repeats"] = (1, of_default("num_repeats", 1))
    return found
