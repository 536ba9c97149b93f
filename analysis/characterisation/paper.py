"""What the publication says of its devices (Fig. 2 and its text): never ours, shown beside our own numbers."""

CYCLES = 200
"""Quasi-static I-V sweeps of Fig. 2c, "highly uniform bipolar resistive switching"."""
STATES = 64
"""Fig. 2d: more than so many distinguishable linear conductance states."""
LOW, HIGH = 20e-6, 100e-6
"""S; the range of those states, 0.02 to 0.10 mS."""
IV = f"paper, Fig. 2c: {CYCLES} cycles, highly uniform bipolar switching"
LEVELS = f"paper, Fig. 2d: more than {STATES} linear states in {LOW * 1e6:.0f}-{HIGH * 1e6:.0f} µS"
RETENTION = "paper, Fig. 2e: relatively stable over time, with small fluctuations"
ERRORS = "paper, Fig. 2g: Gaussian relative errors, no significant change with time"
