"""Refused records: the reason, the position, and how to recover the original."""
