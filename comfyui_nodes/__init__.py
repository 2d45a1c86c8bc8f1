"""The ComfyUI nodes: the same call as the command, on a canvas. Installed as `clora_ext.comfyui_nodes`."""
