"""Score-based diffusion on resistive memory: equation, network, its analog model, training, sampling.

The numpy modules (`sde`, `data`, `ring`, `hardware`, `samplers`) load without torch; `network`, `training`,
`objective` and `compensation` need it.
"""
