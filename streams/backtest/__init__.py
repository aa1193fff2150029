"""The stages without a broker: learn from files, recommend, write the result."""
