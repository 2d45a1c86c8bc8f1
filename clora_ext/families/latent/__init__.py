"""What latent diffusion models share: configuration from shapes, modules, text, sampling."""
