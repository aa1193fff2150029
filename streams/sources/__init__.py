"""Producers as they are: a mapping says how a source writes its events, and is compiled once into functions that read them."""
