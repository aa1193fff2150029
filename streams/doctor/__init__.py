"""What may keep a process from working, found before it runs: settings, keys, brokers, topics, rights, models, the machine."""
