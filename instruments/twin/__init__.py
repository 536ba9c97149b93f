"""The laboratory that isn't there: simulated instruments behind pyvisa-sim, on a virtual clock."""
