"""The page about sd-scripts' keys, made from the table: `python tests/kohya/kohya_page.py` writes it anew."""

import json
from collections.abc import Iterable
from pathlib import Path

from clora_ext.kohya.key import Key, dataset_keys, keys

__all__ = ["PAGE", "kohya_page"]

PAGE = Path(__file__).parents[2] / "docs" / "kohya.md"

_INTRODUCTION = """# Configuration files of sd-scripts (kohya)

`clora add-concept --config train.toml` trains by a training file of sd-scripts 0.11.1, with the dataset
file that it names or `--dataset-config data.toml`; TOML or JSON. `clora config check FILE...` tells
beforehand what clora does with every key: all faults of all files at once, by file and line, each with
the way out. It starts nothing and writes nothing; its exit code is 2 if a file cannot be used as it is.
With `--json` it lists every key with its verdict.

What counts: options on the command line more than the dataset file, that more than the training file,
that more than what suits the model. The plan has a line for every value that is overruled, and for every
key that changes nothing. Where a training file says nothing, sd-scripts' own defaults act (rank 4, alpha
1, one picture a step, 1600 steps, the text encoders taught), not clora's. Where the project is,
`--project` says; `output_dir` and `output_name` say where the finished LoRA is kept besides.

- A **training file** holds options of sd-scripts, at the top or in sections whose names mean nothing. A
  key that stands in two sections is an error; so is a table inside a section, which sd-scripts never
  reads.
- A **dataset file** holds `[general]`, `[[datasets]]` and `[[datasets.subsets]]`; what stands higher
  holds below, too. The file that `dataset_config` names is read with the training file; its path starts
  at the training file's folder.
- Several datasets and folders are one run, each with its own resolution, batch size, captions, mirrored
  pictures and buckets; a folder that a dataset names twice counts once. IMAGES on the command line stands
  for all folders of the concept.
- **Regularisation** (`is_reg`, `reg_data_dir`): pictures of the class without the token; of each dataset as
  many are shown as of the concept, repeated or left out as sd-scripts does, and `prior_loss_weight` weighs
  them. They are no part of what a strategy remembers of the concept, nor of what it is measured by.
- **Buckets**: with `enable_bucket` pictures are cut to sd-scripts' own sizes, at its own places, and SDXL
  is told its numbers. Pictures that these break are named before anything starts. Without it clora's
  buckets act, also where sd-scripts would refuse a picture: sides are multiples of what the model needs, no
  side is longer than twice the other, and nothing is cut that need not be. `--crop-sheet FILE` draws what is
  kept of each picture.
- **Masks**: `masked_loss` weighs the loss by masks in `conditioning_data_dir`, under the pictures' names
  (their red channel), or beside the pictures; `alpha_mask` by the pictures' own transparency. As in
  sd-scripts the loss is not divided by the mask's mean; `--normalize-masks` does that.
- **Preservation**: `custom_attributes = { diff_output_preservation = true }` makes a folder keep rather than
  teach: what the model before the training answers is the target. The text encoders, where they learn, are
  those before, too; in sd-scripts they are those that have learned so far.
- **Previews**: `sample_prompts` is read as sd-scripts reads it (text with the options n, w, h, d, s, l and
  ss, TOML, JSON); an option that it does not know is an error, where sd-scripts leaves it out. Pictures of
  these prompts are kept in the folder `sample` beside the finished LoRA. All are drawn by DDIM.
- **Optimisers**: AdamW, Adafactor, and by libraries of their own (`pip install "clora[train]"`) those of
  bitsandbytes, Lion, Prodigy, the schedule-free ones and CAME, in any case or by the paths that files have.
  No other path is ever imported. Of those that average, the average is what is folded and drawn with.
- **The LoRA**: `networks.lora` with `conv_dim`, dropouts of numbers, ranks and layers, `scale_weight_norms`
  and LoRA+, as sd-scripts has them; `network_train_text_encoder_only`, or a rate of 0, leaves the UNet as it
  is. Of `lycoris.kohya` a DoRA of the same layers is taken: `algo=lora`, `preset=attn-mlp` and `dora_wd=True`
  among `network_args` (gradients do not flow through its norm, in LyCORIS they do; `networks.lora` would not
  read `dora_wd`). Other networks and arguments are refused by name.
- **Losses and noises**: all of them, number by number as sd-scripts has them; what divides by nothing on a
  schedule that ends in pure noise is refused, where sd-scripts trains on with NaN.
- **Learning rates**: every schedule but those of other optimisers, step by step as sd-scripts has it.
- A project is read in one way: without `clip_skip` and `max_token_length`, as its last concept was.
- A byte order mark and all of TOML 1.0 pass. `"C:\\pictures"` is no TOML: write `'C:\\pictures'` or
  `"C:/pictures"`.
- Numbers in quotes are read as numbers, with a note; sd-scripts would take the text. What is of another
  kind, out of bounds or none of the choices is an error, where sd-scripts takes anything.
  `lr_warmup_steps = 10.0` is refused: with a point it is a share, ten times the run.
- Files of the kohya_ss interface, of LoRA_Easy_Training_Scripts, lora-scripts' presets, musubi-tuner and
  OneTrainer, and files of prompts are called what they are.

`clora config write OUT` writes a training file with the settings that a concept of the project was taught
by, for sd-scripts to go on with; what it has no key for stands there as a comment. `clora config show`
prints clora's own file of a concept (token, class, strategy, every setting): `clora add-concept IMAGES
--config FILE` teaches it again, bit for bit.

## Verdicts

| verdict | means |
|---|---|
| honour | it does what it does in sd-scripts |
| note | it changes nothing here; why is told |
| later | clora is going to do that; until then the file is refused |
| refuse | clora does not do that; the file is refused, with the reason |

A value that asks for nothing (`false`, `0`, `""`, sd-scripts' default) passes in silence, whatever the
verdict: the column *passes* lists them.

This page is made from the table `clora_ext/kohya/keys.json` by `tests/kohya/kohya_page.py`.
"""


def kohya_page() -> str:
    """The page as Markdown."""
    by_file = {file: [key for key in keys() if key.file == file] for file in ("train", "foreign")}
    return "\n".join(
        [
            _INTRODUCTION,
            "## Training file\n\n" + _table(by_file["train"]),
            "## Keys of other programs in training files\n\n" + _table(by_file["foreign"]),
            "## Dataset file\n\n" + _dataset_table(dataset_keys().values()),
        ]
    )


def _table(rows: Iterable[Key]) -> str:
    lines = ["| key | values | verdict | passes | what clora does |", "|---|---|---|---|---|"]
    lines += [
        f"| `{key.name}` | {_values(key)} | {key.verdict} | {_passes(key)} | {key.says} |" for key in rows
    ]
    return "\n".join(lines) + "\n"


def _dataset_table(rows: Iterable[Key]) -> str:
    lines = ["| key | in | values | verdict | passes | what clora does |", "|---|---|---|---|---|---|"]
    for key in rows:
        cells = (f"`{key.name}`", ", ".join(key.scopes), _values(key), key.verdict, _passes(key), key.says)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _values(key: Key) -> str:
    if key.choices:
        return ", ".join(f"`{choice}`" for choice in key.choices)
    bounds = {"more than": key.above, "at least": key.min, "at most": key.max}
    return ", ".join(
        [key.kind, *(f"{words} {bound}" for words, bound in bounds.items() if bound is not None)]
    )


def _passes(key: Key) -> str:
    return ", ".join(f"`{json.dumps(value)}`" for value in key.neutral if value is not None)


if __name__ == "__main__":
    PAGE.write_text(kohya_page(), encoding="utf-8")
