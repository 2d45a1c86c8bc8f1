"""Configurations of models that predict v, for the classes of CompVis' ``ldm`` and Stability AI's ``sgm``.

Automatic1111 builds all of a model from the ``.yaml`` beside it: what it predicts cannot be said alone.
The numbers are those of the models (https://github.com/CompVis/stable-diffusion, v1-inference;
https://github.com/Stability-AI/generative-models, sd_xl_base).
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["V_CONFIGS"]


def _sd1_config() -> dict[str, Any]:
    """Stable Diffusion 1."""
    unet = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 320,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 4, 4],
        "num_heads": 8,
        "use_spatial_transformer": True,
        "transformer_depth": 1,
        "context_dim": 768,
        "use_checkpoint": False,
        "legacy": False,
    }
    params = {
        "parameterization": "v",
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
        "num_timesteps_cond": 1,
        "first_stage_key": "jpg",
        "cond_stage_key": "txt",
        "image_size": 64,
        "channels": 4,
        "cond_stage_trainable": False,
        "conditioning_key": "crossattn",
        "scale_factor": 0.18215,
        "use_ema": False,
        "unet_config": {"target": "ldm.modules.diffusionmodules.openaimodel.UNetModel", "params": unet},
        "first_stage_config": _first_stage("ldm.models.autoencoder.AutoencoderKL"),
        "cond_stage_config": {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder"},
    }
    return {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}}


def _sdxl_config() -> dict[str, Any]:
    """Stable Diffusion XL."""
    modules = "sgm.modules.diffusionmodules"
    denoiser = {
        "num_idx": 1000,
        "weighting_config": {"target": f"{modules}.denoiser_weighting.VWeighting"},
        "scaling_config": {"target": f"{modules}.denoiser_scaling.VScaling"},
        "discretization_config": {"target": f"{modules}.discretizer.LegacyDDPMDiscretization"},
    }
    network = {
        "adm_in_channels": 2816,
        "num_classes": "sequential",
        "use_checkpoint": False,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 320,
        "attention_resolutions": [4, 2],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 4],
        "num_head_channels": 64,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "transformer_depth": [1, 2, 10],
        "context_dim": 2048,
        "spatial_transformer_attn_type": "softmax-xformers",
        "legacy": False,
    }
    params = {
        "scale_factor": 0.13025,
        "disable_first_stage_autocast": True,
        "denoiser_config": {"target": f"{modules}.denoiser.DiscreteDenoiser", "params": denoiser},
        "network_config": {"target": f"{modules}.openaimodel.UNetModel", "params": network},
        "conditioner_config": {
            "target": "sgm.modules.GeneralConditioner",
            "params": {"emb_models": _sdxl_embedders()},
        },
        "first_stage_config": _first_stage("sgm.models.autoencoder.AutoencoderKLInferenceWrapper"),
    }
    return {"model": {"target": "sgm.models.diffusion.DiffusionEngine", "params": params}}


def _sdxl_embedders() -> list[dict[str, Any]]:
    """Two text encoders, and the three sizes that SDXL is conditioned on."""

    def embedder(reads: str, kind: str, **params: object) -> dict[str, Any]:
        target = f"sgm.modules.encoders.modules.{kind}"
        return {"is_trainable": False, "input_key": reads, "target": target, "params": params}

    big = {"arch": "ViT-bigG-14", "version": "laion2b_s39b_b160k", "freeze": True, "layer": "penultimate"}
    sizes = ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
    return [
        embedder("txt", "FrozenCLIPEmbedder", layer="hidden", layer_idx=11),
        embedder("txt", "FrozenOpenCLIPEmbedder2", **big, always_return_pooled=True, legacy=False),
        *(embedder(size, "ConcatTimestepEmbedderND", outdim=256) for size in sizes),
    ]


def _first_stage(target: str) -> dict[str, Any]:
    """The VAE, which both have in the same shape."""
    autoencoder = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    params = {"embed_dim": 4, "ddconfig": autoencoder, "lossconfig": {"target": "torch.nn.Identity"}}
    return {"target": target, "params": params}


V_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "stable-diffusion-v1": _sd1_config(),
    "stable-diffusion-xl-v1-base": _sdxl_config(),
}
"""By modelspec's name of the architecture."""
