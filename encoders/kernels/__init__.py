"""Loops that are compiled for this processor. Optional: without numba or its instructions, torch and numpy do the same, slower."""
