"""Image -> clean latent -> initial noise: decoder inversion, then diffusion inversion."""
