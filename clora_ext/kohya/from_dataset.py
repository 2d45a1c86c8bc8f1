"""What a dataset file asks of clora, by clora's names."""

from .dataset_file import DatasetFile
from .origin import Sourced, of_default, of_given, path_from, settings_as_written

__all__ = ["from_dataset"]


def from_dataset(file: DatasetFile) -> Sourced:
    """The one folder of pictures; the check has refused a file with more."""
    ((dataset, subset),) = [(dataset, subset) for dataset in file.datasets for subset in dataset.subsets]
    given = {**dataset.given, **subset.given}
    found = settings_as_written(given)
    if "resolution" in given:
        found["resolution"] = (given["resolution"].value[0], of_given(given["resolution"]))
    folder = given["image_dir"]
    found["images"] = (path_from(file.path.parent, folder.value), of_given(folder))
    # Without num_repeats sd-scripts counts a folder once, whatever number is in its name.
    repeats = given.get("num_repeats")
    found["repeats"] = (
        (1, of_default("num_repeats", 1)) if repeats is None else (repeats.value, of_given(repeats))
    )
    return found
