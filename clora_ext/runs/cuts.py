"""How each picture of a plan is scaled and cut."""

from collections.abc import Sequence

from clora_ext.data import Cut, Picture, Subset, bucket_sizes, covering, nearest
from clora_ext.errors import DatasetError, UsageError
from clora_ext.formats.text import counted, escaped

from .plan_basis import PlanBasis

__all__ = ["cuts_of", "side_of"]


def cuts_of(pictures: Sequence[Picture], basis: PlanBasis) -> tuple[Cut, ...]:
    """How each picture is scaled and cut, in their order.

    Raises:
        DatasetError: some cannot be cut as it is asked for; all of them are named.
    """
    found = [_cut_or_reason(picture, basis) for picture in pictures]
    cuts = tuple(one for one in found if isinstance(one, Cut))
    wrong = [one for one in found if isinstance(one, str)]
    if wrong:
        message = f"{counted(len(wrong), 'picture')} cannot be cut:\n" + "\n".join(wrong)
        raise DatasetError(message, fix="leave them out, or change the buckets")
    return cuts


def side_of(subset: Subset, basis: PlanBasis) -> int:
    """The side of the square whose area a folder's pictures get, pixels."""
    return subset.resolution or basis.resolution


def _cut_or_reason(picture: Picture, basis: PlanBasis) -> Cut | str:
    try:
        return _cut(picture, basis)
    except UsageError as error:
        return f"  {escaped(picture.path)}: {error.message}; {error.fix}"


def _cut(picture: Picture, basis: PlanBasis) -> Cut:
    """By clora's buckets; by sd-scripts', or to width and height, where its file asks for them."""
    subset, multiple = picture.subset, basis.context.size_multiple
    side, size = side_of(subset, basis), (picture.width, picture.height)
    if subset.buckets is not None:
        if subset.buckets.step % multiple:
            message = (
                f"bucket_reso_steps {subset.buckets.step} is no multiple of {multiple}, as this model needs"
            )
            raise UsageError(message, fix=f"write bucket_reso_steps = {multiple}, or a multiple of it")
        return subset.buckets.cut(size, subset.sides or (side, side))
    if subset.sides is None:
        return covering(*size, *nearest(*size, bucket_sizes(side, multiple)))
    if any(one % multiple for one in subset.sides):
        message = f"{' x '.join(map(str, subset.sides))} pixels are no multiples of {multiple}"
        raise UsageError(message, fix="write sides that are, as this model needs, or enable_bucket = true")
    return covering(*size, *subset.sides)
