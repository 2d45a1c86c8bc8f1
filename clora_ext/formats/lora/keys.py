"""Names of the tensors in LoRA files, taken apart: what names the layer, and what the tensor is of it.

Needs no torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from clora_ext.adapters.sites import Parameter

__all__ = ["Key", "Role", "bundled_embedding", "bundled_name", "is_adapter_name", "parse_key"]

Role = Literal[
    "down", "up", "mid", "alpha",
    "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
    "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
    "diff", "w_norm", "diff_b", "b_norm", "dora_scale", "lora_magnitude_vector",
]  # fmt: skip
"""Parts of an adapter, by LyCORIS' names; ``lora_magnitude_vector`` is PEFT's."""

# X.lora_down.weight, X.lora_A.weight, X.lora_A.default.weight (an adapter's name), X.lora.down.weight,
# X_lora.down.weight, X.lora_linear_layer.down.weight; X.lora_mid.weight; X.alpha, X_lora.alpha;
# X.lora_magnitude_vector, X.lora_magnitude_vector.default.weight; X.hada_w1_a, X.lokr_w2, X.diff, ...
_KEY = re.compile(
    r"""(?P<stem>.+?)(?:
        (?:\.lora_|[._]lora\.|\.lora_linear_layer\.)(?P<side>down|up|mid)\.weight
        | \.lora_(?P<letter>[AB])(?:\.\w+)?\.weight
        | (?:[._]lora|\.lora_linear_layer)?\.(?P<alpha>alpha)
        | \.(?P<magnitude>lora_magnitude_vector)(?:\.\w+){0,2}
        | \.(?P<part>
            hada_w[12]_[ab] | hada_t[12] | lokr_w[12](?:_[ab])? | lokr_t2
            | diff | diff_b | w_norm | b_norm | dora_scale
          )
    )""",
    re.VERBOSE,
)
_ROLES: Mapping[str, Role] = {**{role: role for role in get_args(Role)}, "A": "down", "B": "up"}
_OF_BIASES = frozenset({"diff_b", "b_norm"})
# Beside other parts only: alone they make no file a LoRA.
_COMPANIONS = frozenset({"alpha", "dora_scale", "lora_magnitude_vector"})

# What programs wrap a model in before its layers are named: torch.compile, PEFT, data parallelism.
_WRAPPERS = re.compile(r"_orig_mod[._]|base_model\.model\.|^module\.")
_TWICE = re.compile(r"^(unet|text_encoder|text_encoder_2)\.\1\.")
_EMBEDDING = re.compile(r"bundle_emb\.(?P<name>[^.]+)\..+")


@dataclass(frozen=True, slots=True)
class Key:
    """A tensor's name, taken apart.

    Attributes:
        stem: what names the layer, without what its model was wrapped in.
        role: which part of the adapter the tensor is.
    """

    stem: str
    role: Role

    @property
    def parameter(self) -> Parameter:
        """Which of the layer's parameters is changed."""
        return "bias" if self.role in _OF_BIASES else "weight"


def parse_key(name: str) -> Key | None:
    """The parts of a LoRA tensor's name; None if it is not one.

    >>> parse_key("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight")
    Key(stem='lora_te_text_model_encoder_layers_0_mlp_fc1', role='up')
    >>> parse_key("base_model.model.unet.conv_in.lora_A.weight")
    Key(stem='unet.conv_in', role='down')
    >>> parse_key("unet.mid_block.attentions.0.proj_in.weight") is None
    True
    """
    found = _KEY.fullmatch(name)
    if found is None:
        return None
    parts = ("side", "letter", "alpha", "magnitude", "part")
    role = next(_ROLES[part] for name in parts if (part := found[name]))
    stem = _WRAPPERS.sub("", found["stem"]).replace(".processor.", ".")
    return Key(_TWICE.sub(r"\1.", stem), role)


def is_adapter_name(name: str) -> bool:
    """Whether a tensor of this name is a part of an adapter, in any program's spelling.

    >>> is_adapter_name("unet.mid_block.attentions.0.proj_in.lora_A.weight"), is_adapter_name("model.alpha")
    (True, False)
    """
    key = parse_key(name)
    return key is not None and key.role not in _COMPANIONS


def bundled_name(trigger: str, vectors: str) -> str:
    """The name of a tensor of a bundled embedding.

    >>> bundled_name("sks", "clip_l"), bundled_embedding(bundled_name("sks", "clip_l"))
    ('bundle_emb.sks.clip_l', 'sks')

    The trigger has no dot: web interfaces would take it apart there.
    """
    return f"bundle_emb.{trigger}.{vectors}"


def bundled_embedding(name: str) -> str | None:
    """The trigger of an embedding that a tensor belongs to, if web interfaces bundle one in a LoRA so.

    >>> bundled_embedding("bundle_emb.bad-hands.string_to_param.*")
    'bad-hands'
    """
    found = _EMBEDDING.fullmatch(name)
    return found["name"] if found else None
