"""Changes of the engine, each a bug that others really shipped, and the tests that must notice it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """A change of one place in the engine, and the tests that must notice it."""

    name: str
    file: str
    good: str
    bad: str
    tests: str


BUGS = (
    Bug(
        "factors are summed instead of deltas",
        "strategies/naive.py",
        "return Fold(frozen + trained.delta(), memory)",
        "kept = kept or Factors(0 * trained.down, 0 * trained.up, trained.alpha)\n"
        "        both = Factors(kept.down + trained.down, kept.up + trained.up, trained.alpha)\n"
        "        return Fold(frozen + both.delta(), memory)",
        "tests/strategies",
    ),
    Bug(
        "alpha / rank is dropped",
        "adapters/factors.py",
        "return delta.mul_(self.scale)",
        "return delta",
        "tests/strategies/test_oracles.py",
    ),
    Bug(
        "the layer's weight is edited in place",
        "strategies/merge.py",
        "Fold(layer.current + trained.delta())",
        "Fold(layer.current.add_(trained.delta()))",
        "tests/strategies/test_contract.py",
    ),
    Bug(
        "the orthogonal start is not rescaled",
        "strategies/orthogonal.py",
        "free = free * (plain.down.norm() / free.norm())",
        "pass",
        "tests/strategies/test_oracles.py",
    ),
    Bug(
        "the manifest is replaced before the files are checked and on the disk",
        "project/folder.py",
        "        self._secure(manifest)\n        replace_text(self.folder / MANIFEST, text)\n",
        "        replace_text(self.folder / MANIFEST, text)\n        self._secure(manifest)\n",
        "tests/project/test_atomicity.py",
    ),
    Bug(
        "old files are swept before the manifest is replaced",
        "project/folder.py",
        "        replace_text(self.folder / MANIFEST, text)\n",
        "        sweep(self.folder, manifest)\n        replace_text(self.folder / MANIFEST, text)\n",
        "tests/project/test_atomicity.py",
    ),
    Bug(
        "the mask keeps the smaller change",
        "strategies/mask.py",
        "tau.abs() >= layer.earlier.abs()",
        "tau.abs() <= layer.earlier.abs()",
        "tests/strategies",
    ),
    Bug(
        "the projection is not held during training",
        "training/loop.py",
        "        training.adapters.project()\n",
        "",
        "tests/runs/test_add_concept.py",
    ),
    Bug(
        "the next concept goes on from the rounded weights",
        "evolving/model.py",
        "return join(stored, self._kept(name, RESIDUAL, start, stop, files))",
        "return stored.float()",
        "tests/evolving/test_fold.py",
    ),
    Bug(
        "all rows of a layer get the first rows' change",
        "evolving/fold.py",
        "trained.rows(first - start, last - start)",
        "trained.rows(0, last - first)",
        "tests/evolving/test_fold.py",
    ),
    Bug(
        "a memory is believed to belong to any checkpoint",
        "evolving/model.py",
        "if known and combine(self.current.header.tensors, known) != content_hash:",
        "if known and not content_hash:",
        "tests/evolving/test_memory.py",
    ),
    Bug(
        "a resumed run forgets the optimiser's moments",
        "training/state.py",
        "    optimizer.load_state_dict(state)\n",
        "    optimizer.load_state_dict({**state, 'state': {}})\n",
        "tests/runs/test_interrupted.py",
    ),
    Bug(
        "another plan's training state is resumed",
        "training/state.py",
        "metadata.get(TRAINING_KEY) != fingerprint or",
        "TRAINING_KEY not in metadata or",
        "tests/runs/test_interrupted.py",
    ),
    Bug(
        "values that are not finite are written",
        "formats/stored.py",
        "or _all_finite(stored):",
        "or True:",
        "tests/formats/test_checkpoint.py",
    ),
    Bug(
        "overlapping tensors in a header are accepted",
        "formats/header.py",
        "if info.start != position:",
        "if info.start > position:",
        "tests/formats/test_header.py",
    ),
    Bug(
        "the text encoder is written without `text_model.`",
        "formats/keys.py",
        'tuple((f"text_model.{part}",) * 2 for part in _CLIP_PARTS)',
        'tuple((f"text_model.{part}", part) for part in _CLIP_PARTS)',
        "tests/formats/test_keys.py",
    ),
    Bug(
        "queries, keys and values of a fused tensor are all read from its first rows",
        "families/latent/filling.py",
        "rows = slice(index * height, (index + 1) * height)",
        "rows = slice(0, height)",
        "tests/families/test_published_models.py",
    ),
    Bug(
        "somebody's LoRA takes the place of what the naive strategy had learned",
        "evolving/fold.py",
        'layer = self._evolving.layer(target, "" if concept.imported else concept.name)',
        "layer = self._evolving.layer(target, concept.name)",
        "tests/runs/test_import_lora.py",
    ),
    Bug(
        "a LoRA file's alpha is ignored",
        "formats/lora/alpha.py",
        "            return float(rank)\n        return alpha\n",
        "            return float(rank)\n        return float(rank)\n",
        "tests/formats/lora/test_lora_reader.py",
    ),
    Bug(
        "a DoRA's norm is that of the weight alone",
        "adapters/decomposed.py",
        "(weight(start, stop) + self.direction.rows(start, stop).delta()).double()",
        "weight(start, stop).double()",
        "tests/formats/lora/test_lora_kinds.py",
    ),
    Bug(
        "a LoRA's tensors that have no place are skipped",
        "formats/lora/reader.py",
        "    if not names:\n        return\n",
        "    return\n",
        "tests/formats/lora/test_lora_refusals.py",
    ),
    Bug(
        "alpha is rounded to the LoRA file's dtype",
        "formats/lora/writer.py",
        "adapter.with_alpha(_storable_alpha(adapter, dtype))",
        "Factors(adapter.down, adapter.up, _storable_alpha(adapter, dtype))",
        "tests/formats/lora/test_lora_writer.py",
    ),
    Bug(
        "an SDXL LoRA is written with diffusers' block names",
        "formats/lora/writer.py",
        "site.original if kind.original else site.module",
        "site.module",
        "tests/formats/lora/test_lora_names.py",
    ),
    Bug(
        "the exported VAE is rounded with everything else",
        "export/tensors.py",
        'stored = info.dtype if role == "vae" else _stored(info.dtype, dtype)',
        "stored = _stored(info.dtype, dtype)",
        "tests/export/test_tensors.py",
    ),
    Bug(
        "a refused rename leaves half of the exported files",
        "export/atomic.py",
        "for step in reversed(undo):",
        "for step in ():",
        "tests/export/test_atomic.py",
    ),
    Bug(
        "the preview shows the model before",
        "sampling/contact_sheet.py",
        "return cells_of(sheet, 2)[-1][0]",
        "return cells_of(sheet, 2)[0][0]",
        "tests/export/test_metadata.py",
    ),
    Bug(
        "what was taught already is taught once more",
        "runs/add_concept.py",
        "if plan.learned is not None:",
        "if plan.learned is not None and request is None:",
        "tests/runs/test_already_learned.py",
    ),
    Bug(
        "a picture's colour profile is ignored",
        "data/colour.py",
        'if not info.get("icc_profile"):',
        'if info.get("icc_profile", True):',
        "tests/data/test_colour.py",
    ),
    Bug(
        "a mask is trained as a picture",
        "data/layout.py",
        "images = tuple(entry for entry in named if entry not in masks)",
        "images = tuple(named)",
        "tests/data/test_beside.py",
    ),
    Bug(
        "another file at the base's place is exported under the recorded hash",
        "project/base.py",
        "        self.check(file)\n        return file",
        "        return file",
        "tests/runs/test_moved_base.py",
    ),
    Bug(
        "modelspec's word for what a model predicts is not read",
        "formats/prediction.py",
        "for key in _WORD_KEYS:",
        "for key in ():",
        "tests/formats/test_prediction.py",
    ),
    Bug(
        "the teacher answers with the adapter on",
        "training/replay.py",
        "with self.without_adapter():",
        "with self.without_adapter() if False else torch.no_grad():",
        "tests/runs/test_strategy_seam.py",
    ),
    Bug(
        "a trajectory's noise does not follow from its number",
        "training/replay.py",
        'return f"{seed}/{place}/{number}"',
        'return f"{seed}/{place}"',
        "tests/training/test_replay.py",
    ),
    Bug(
        "what the trigger's row has learned is not folded",
        "runs/train_pictures.py",
        "trained={**trained, **learned_rows},",
        "trained=trained,",
        "tests/runs/test_distill_runs.py",
    ),
    Bug(
        "replay asks for the new concept itself",
        "prompts/replay_prompts.py",
        'return rng.choice(["", *rng.sample(others, 1)]) if others else ""',
        "return self.concept.token",
        "tests/prompts/test_replay_prompts.py",
    ),
    Bug(
        "own pictures are asked again by the model that learns",
        "training/own_replay.py",
        "with torch.no_grad(), self.without_adapter():",
        "with torch.no_grad():",
        "tests/training/test_own_replay.py",
    ),
    Bug(
        "captions vary with what was drawn before, not with the step",
        "runs/step_captions.py",
        'rng = Random(f"caption/{seed}/{step}/{index}")',
        'rng = Random(f"caption/{seed}/{index}")',
        "tests/runs/test_varied_captions_runs.py",
    ),
    Bug(
        "a dataset's value counts more than its subset's",
        "kohya/dataset_file.py",
        "return Subset(line, {**above, **own})",
        "return Subset(line, {**own, **above})",
        "tests/kohya/test_check.py",
    ),
    Bug(
        "what layers have read for earlier concepts is forgotten with the next",
        "evolving/trained_concept.py",
        "found[0].plus(found[1])",
        "found[1]",
        "tests/runs/test_gram_runs.py",
    ),
    Bug(
        "a sum of inputs is rounded as it is, and has negative directions",
        "adapters/moments.py",
        "return Moment(self.factor.bfloat16(), self.diagonal.bfloat16())",
        "return Moment(self.factor.bfloat16(), self.diagonal.bfloat16() - self.mean_variance / 256)",
        "tests/adapters/test_moments.py",
    ),
    Bug(
        "keys of all blocks are believed to read something of their own",
        "families/latent/targets.py",
        'return "encoder_hidden_states"',
        'return ""',
        "tests/training/test_statistics.py",
    ),
)
