"""sd-scripts' training of a LoRA, for an SD 1.5 whose UNet has other widths than it is written for.

python narrow_sd_scripts.py WIDTH TRAIN_NETWORK ARGUMENT...

WIDTH is that of the UNet's first level; the others are 2, 4 and 4 times as wide.
"""

import os
import runpy
import sys
from pathlib import Path


def main(width: int, program: list[str]) -> None:
    """Run the program as it is, with the widths in its library replaced."""
    folder = Path(program[0]).parent
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    from library import model_util, original_unet

    model_util.UNET_PARAMS_MODEL_CHANNELS = width
    original_unet.BLOCK_OUT_CHANNELS = (width, 2 * width, 4 * width, 4 * width)
    original_unet.TIMESTEP_INPUT_DIM = width
    original_unet.TIME_EMBED_DIM = 4 * width
    sys.argv = program
    runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
