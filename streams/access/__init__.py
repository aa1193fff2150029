"""Rights at the broker: what each stage and each kind of client needs, from the one table of topics."""
