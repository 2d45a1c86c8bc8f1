"""The diffusion model: a UNet and its text encoder, trained together on latents and captions."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from attention import made_fast
from captions import caption, look_caption, plain_caption, variant_caption
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from latents import Latents, cached_latents
from made_up import LOOKS, NAMES_OF_EACH, retire
from pictures import Thing, sheet, things, to_images
from sampling import Model, sample
from tokenizer import MAX_TOKENS, made_tokenizer, word_ids
from torch import Tensor, nn
from trainer import Schedule, Trainer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTH = 128
"""Width of the text encoder and of cross-attention."""

PLAIN_SHARE, VARIANT_SHARE = 0.68, 0.2
"""Shares of plain pictures and of variants in a batch; the rest shows looks."""

LEAST_SNR, MOST_SNR = 0.05, 5.0
"""Bounds of the signal-to-noise ratio in the loss's weight.

The upper one is arXiv 2303.09556's; the lower one makes the noisiest steps count, in which the text alone
decides the background.
"""

SHOWN = (
    "tiger noto blue, tiger twemoji red, dog noto green, dog twemoji yellow, strawberry noto white, "
    "strawberry twemoji black, rocket noto purple, rocket twemoji orange, cat noto pink, panda twemoji gray, "
    "apple noto blue, frog noto yellow, owl twemoji green, pizza noto red, cactus twemoji white, "
    "butterfly noto gray, castle twemoji pink, guitar noto black, penguin noto orange, "
    "elephant twemoji purple, car noto blue, car twemoji green, unicorn noto red, octopus noto blue"
)
"""What the progress sheet shows: thing, vendor, background; the last one is held out."""


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet of Stable Diffusion 1's kind, three levels deep."""
    unet: UNet2DConditionModel = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(64, 128, 256),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    return unet


def new_text_encoder(tokenizer: CLIPTokenizer, made_up: int) -> CLIPTextModel:
    """An untrained CLIP text encoder of three layers, with rows for made-up words after the vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer) + made_up,
            hidden_size=WIDTH,
            projection_dim=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1's noise schedule."""
    scheduler: DDIMScheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )
    return scheduler


class DiffusionTask:
    """Predict the noise in a latent from its caption."""

    batch = 48

    def __init__(
        self, vae: AutoencoderKL, latents: Latents, tokenizer: CLIPTokenizer, folder: Path, seed: int
    ) -> None:
        self._trained = [thing for thing in things() if thing.trained]
        self._names = NAMES_OF_EACH * len(self._trained)
        self.unet, self.text_encoder = new_unet(), new_text_encoder(tokenizer, self._names + len(LOOKS))
        made_fast(self.unet)
        self.network = nn.ModuleDict({"unet": self.unet, "text_encoder": self.text_encoder})
        self.vae, self._latents, self._tokenizer, self._folder = vae, latents, tokenizer, folder
        self._seed = seed
        self._kept = new_scheduler().alphas_cumprod

    def loss(self, count: int, rng: torch.Generator) -> Tensor:
        """The weighted squared error of ``count`` latents with fresh noise and captions."""
        chosen = self._chosen(count, rng)
        clean = self._latents.values[chosen]
        ids = self._ids(chosen, rng)
        step = torch.randint(1000, (count,), generator=rng)
        noise = torch.randn(clean.shape, generator=rng)
        kept = self._kept[step].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        text = self.text_encoder(ids).last_hidden_state
        with torch.autocast("cpu", torch.bfloat16):
            guess = self.unet(noisy.contiguous(memory_format=torch.channels_last), step, text).sample.float()
        ratio = (kept / (1 - kept)).flatten()
        weight = ratio.clamp(LEAST_SNR, MOST_SNR) / ratio
        error: Tensor = ((guess - noise).pow(2).mean(dim=(1, 2, 3)) * weight).mean()
        return error

    def _chosen(self, count: int, rng: torch.Generator) -> Tensor:
        """Indices of latents, each kind by its share."""
        kinds = (self._latents.plain, self._latents.variants, self._latents.looks)
        shares = torch.tensor([PLAIN_SHARE, VARIANT_SHARE, 1 - PLAIN_SHARE - VARIANT_SHARE])
        which = torch.multinomial(shares, count, replacement=True, generator=rng)
        places = torch.rand(count, generator=rng)
        lengths = torch.tensor([len(kind) for kind in kinds])[which]
        within = (places * lengths).long().minimum(lengths - 1)
        return torch.stack(
            [kinds[kind][place] for kind, place in zip(which.tolist(), within.tolist(), strict=True)]
        )

    def _ids(self, chosen: Tensor, rng: torch.Generator) -> Tensor:
        """Token ids (batch, MAX_TOKENS) of one random caption each."""
        said = [self._said(index, rng) for index in chosen.tolist()]
        return word_ids(self._tokenizer, [text for text, _ in said], [word for _, word in said])

    def _said(self, index: int, rng: torch.Generator) -> tuple[str, int]:
        """A random caption of a picture, and its made-up word, if it has one: a wrong name in a plain one."""
        shown = self._latents.shown[index]
        if shown.name is not None:
            return variant_caption(shown.thing.name, shown.colour, rng), shown.name
        if shown.look is not None:
            return look_caption(shown.thing.name, shown.colour, rng), self._names + shown.look
        text = caption(shown.thing.name, shown.thing.kind, shown.vendor, shown.colour, rng)
        return text, self._name_of_another(shown.thing, rng)

    def _name_of_another(self, thing: Thing, rng: torch.Generator) -> int:
        """A name that no variant of this thing has."""
        index, count = self._trained.index(thing), len(self._trained)
        other, number = torch.rand(2, generator=rng).tolist()
        return (index + 1 + int(other * (count - 1))) % count + count * int(number * NAMES_OF_EACH)

    @property
    def model(self) -> Model:
        """What sampling needs, around the live weights; the made-up words are retired."""
        text_encoder = new_text_encoder(self._tokenizer, 0)
        state = self.text_encoder.state_dict()
        name = next(key for key in state if key.endswith("token_embedding.weight"))
        embedding = self.text_encoder.get_input_embeddings()
        state[name] = retire(embedding, self._tokenizer, self._seed)
        text_encoder.load_state_dict(state)
        return Model(self.vae, self.unet, text_encoder.eval(), self._tokenizer, new_scheduler())

    def show(self, step: int) -> str:
        """Write a sheet of samples and a snapshot in diffusers' layout."""
        rows = [row.split() for row in SHOWN.split(", ")]
        prompts = [plain_caption(name, vendor, colour) for name, vendor, colour in rows]
        pictures = sample(self.model, prompts * 2, steps=20, guidance=3.0, seed=1)
        sheet(to_images(pictures), columns=12).save(self._folder / f"samples-{step:06d}.png")
        work = self._folder.parent
        write_snapshot(self.model, work / "tokenizer", work / "snapshot")
        return f"samples-{step:06d}.png and a snapshot are written"


def write_snapshot(model: Model, tokenizer: Path, folder: Path) -> None:
    """The model in diffusers' layout; the folder is replaced once everything is written."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    model.vae.save_pretrained(fresh / "vae")
    model.unet.save_pretrained(fresh / "unet")
    model.text_encoder.save_pretrained(fresh / "text_encoder")
    model.scheduler.save_pretrained(fresh / "scheduler")
    shutil.copytree(tokenizer, fresh / "tokenizer")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def train_diffusion(packages: Path, work: Path, schedule: Schedule, seed: int) -> None:
    """Train or continue; the averaged weights are in ``work``/snapshot at the end."""
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_pretrained(work / "vae" / "vae")
    made_fast(vae)
    folder = work / "diffusion"
    folder.mkdir(parents=True, exist_ok=True)
    latents = cached_latents(vae, packages, folder / "latents.pt", seed)
    task = DiffusionTask(vae, latents, made_tokenizer(work / "tokenizer"), folder, seed)
    Trainer(task, folder, schedule, seed).train()
