"""LoRA files: every dialect in, kohya's out. Needs no torch until a file is read or written."""
