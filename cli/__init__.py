"""The `clora` command: parses, calls the engine and shows what happens. Installed as `clora_ext.cli`."""
