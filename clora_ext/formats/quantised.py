"""Weights in fewer bits than training needs, by what each program leaves in a file. Needs no torch."""

from collections.abc import Mapping

from .header import TensorInfo

__all__ = ["quantised"]

_NF4 = ".quant_state.bitsandbytes__"
_SCALES = (".scale_weight", ".weight_scale", ".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
_TO_WHOLE = "quantised to whole numbers (int8 or packed)"
_IN_BLOCKS = "stored in 4 or 8 bits with a scale for each block (fp4 or mxfp8)"
_ENDINGS = (
    ((".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"), "quantised to 4 bits (bitsandbytes)"),
    ((".SCB", ".weight_format"), "quantised to 8 bits (bitsandbytes int8)"),
    ((".qweight", ".qzeros", "._data", ".qdata"), _TO_WHOLE),
)
_EIGHT_BITS = frozenset({"F8_E4M3", "F8_E5M2"})
_BLOCKS = frozenset({"F4", "F8_E8M0"})
_WHOLE = frozenset({"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"})


def quantised(tensors: Mapping[str, TensorInfo]) -> str | None:
    """How the weights are quantised, such as ``stored in 8 bits (fp8)``; None: they are not.

    >>> quantised({"a.weight": TensorInfo("F8_E4M3", (2, 2), 0, 4)})
    'stored in 8 bits (fp8)'
    """
    kind = next((name.partition(_NF4)[2] for name in tensors if _NF4 in name), None)
    if kind is not None:
        return f"quantised to 4 bits (bitsandbytes {'fp4' if kind == 'fp4' else 'nf4'})"
    for endings, what in _ENDINGS:
        if _any_ends(tensors, endings):
            return what
    dtypes = {info.dtype for info in tensors.values()}
    if dtypes & _EIGHT_BITS and not dtypes & _BLOCKS:
        return f"stored in 8 bits (fp8{', scaled' if _any_ends(tensors, _SCALES) else ''})"
    whole = any(_is_whole(name, info) for name, info in tensors.items())
    return next((what for found, what in ((dtypes & _BLOCKS, _IN_BLOCKS), (whole, _TO_WHOLE)) if found), None)


def _any_ends(tensors: Mapping[str, TensorInfo], endings: tuple[str, ...]) -> bool:
    return any(name.endswith(endings) for name in tensors)


def _is_whole(name: str, info: TensorInfo) -> bool:
    """Whether a matrix or a kernel of weights holds whole numbers."""
    return info.dtype in _WHOLE and len(info.shape) > 1 and name.endswith(".weight")
