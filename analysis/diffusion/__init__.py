"""Score-based diffusion on resistive memory: equation, network, its analog model, training, sampling.

    sde, data, ring        the equation, the circle and its exact score          numpy
    hardware, samplers     the circuit's network, its drive, digital samplers    numpy
    model                  a trained network as arrays; files                    numpy
    network, flow, objective, descent                                            torch
    paper_recipe, hardware_recipe, training, compensation                        torch
    conditional_model, store    class-conditional networks as arrays; a folder   numpy
    class_flow, conditional, conditional_compensation                            torch

Training starts at `training.train_cached`, a chip's correction at `compensation.compensate`.
"""
