"""Prompts for ComfyUI's interface: what its canvas would send."""

from typing import Any

Graph = dict[str, dict[str, Any]]


def text_to_image(checkpoint: str, prompt: str, size: int = 64, steps: int = 2) -> Graph:
    """Load a checkpoint, draw one picture, save it."""
    return {
        "model": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        **drawing(["model", 0], ["model", 1], ["model", 2], prompt, size, steps),
    }


def text_to_image_with_lora(checkpoint: str, lora: str, prompt: str, size: int = 64, steps: int = 2) -> Graph:
    """The same with a LoRA at full strength."""
    return {
        "model": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "lora": node(
            "LoraLoader",
            model=["model", 0],
            clip=["model", 1],
            lora_name=lora,
            strength_model=1.0,
            strength_clip=1.0,
        ),
        **drawing(["lora", 0], ["lora", 1], ["model", 2], prompt, size, steps),
    }


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node."""
    return {"class_type": class_type, "inputs": inputs}


def numbered(graph: Graph) -> Graph:
    """The same graph with numbers for names, as the page's own workflows have them."""
    numbers = {name: str(number) for number, name in enumerate(graph, start=1)}

    def wire(value: Any) -> Any:
        return [numbers[value[0]], value[1]] if isinstance(value, list) else value

    return {
        numbers[name]: node(
            found["class_type"], **{key: wire(value) for key, value in found["inputs"].items()}
        )
        for name, found in graph.items()
    }


def drawing(model: Any, clip: Any, vae: Any, prompt: Any, size: int, steps: int) -> Graph:
    """From a model to a saved picture; ``prompt`` may be a wire."""
    return {
        "positive": node("CLIPTextEncode", text=prompt, clip=clip),
        "negative": node("CLIPTextEncode", text="", clip=clip),
        "empty": node("EmptyLatentImage", width=size, height=size, batch_size=1),
        "sampler": node(
            "KSampler",
            model=model,
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["empty", 0],
            seed=1,
            steps=steps,
            cfg=7.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "decoded": node("VAEDecode", samples=["sampler", 0], vae=vae),
        "saved": node("SaveImage", images=["decoded", 0], filename_prefix="clora"),
    }
