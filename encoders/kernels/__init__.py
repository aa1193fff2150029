"""Loops compiled for this processor. Optional: without numba or the instructions, torch and numpy do the same, more slowly."""
