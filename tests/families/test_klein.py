"""What Flux.2 klein alone asks: of all that is read of a text, what is kept is half as large."""

import torch

from clora_ext.config.precision import to_keep
from clora_ext.families.flow.text import collate


def test_what_is_kept_in_bfloat16_is_read_again_without_a_loss() -> None:
    states = torch.randn(1, 512, 8, generator=torch.Generator().manual_seed(0))
    said = {"states": states.bfloat16(), "mask": torch.ones(1, 512)}
    kept = {name: to_keep(value) for name, value in said.items()}
    assert (kept["states"].dtype, kept["mask"].dtype) == (torch.bfloat16, torch.float32)
    assert to_keep(states.half()).dtype == torch.float32
    both = collate([kept, kept])
    assert both["states"].dtype == torch.float32
    assert torch.equal(both["states"][1], said["states"][0].float())
