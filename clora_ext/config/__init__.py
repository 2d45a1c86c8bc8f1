"""How a concept is taught and where it is computed: settings, presets, precision."""
