"""Handwritten H, K and U: the letters, their autoencoder, and what judges them.

    data, emnist, generator    letters as 12x12 images, read or drawn        numpy
    classifier                 reads letters                                 torch
    vae                        encoder and decoder                           torch
    latent                     latent points by class, guidance              numpy
    judge                      quality of latents and of letters             numpy

The class-conditional score network is `analysis.diffusion.conditional`, the decoder on arrays `analysis.tiling`.
"""
