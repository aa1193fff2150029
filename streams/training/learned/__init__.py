"""Fits a ranker: the shop at past moments, what shoppers did next, and the model of it."""
