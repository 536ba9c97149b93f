"""The twin's device constants, estimated from what runs recorded: noise, relaxation, gate law, switching kinetics."""
