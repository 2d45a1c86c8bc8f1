"""Files that other programs read and write: safetensors headers, checkpoints, key tables."""
