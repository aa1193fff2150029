"""The composition root: settings in, stages ready to run out. Production objects are constructed only here."""
