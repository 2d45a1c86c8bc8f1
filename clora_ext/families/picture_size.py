"""How large a drawn picture is."""

__all__ = ["PictureSize", "size_words", "width_and_height"]

PictureSize = int | tuple[int, int]
"""The side of a square picture, or its width and height, pixels."""


def width_and_height(size: PictureSize) -> tuple[int, int]:
    """Both.

    >>> width_and_height(512), width_and_height((512, 768))
    ((512, 512), (512, 768))
    """
    return (size, size) if isinstance(size, int) else size


def size_words(size: PictureSize) -> str:
    """For people.

    >>> size_words(512), size_words((512, 768))
    ('512 px', '512 x 768 px')
    """
    return f"{size} px" if isinstance(size, int) else f"{size[0]} x {size[1]} px"
