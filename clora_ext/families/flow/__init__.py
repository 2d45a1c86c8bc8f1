"""What models of flow matching share: a transformer, a language model that reads, a VAE, one sampler."""
