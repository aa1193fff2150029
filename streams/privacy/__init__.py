"""Keys, pseudonyms, sealed ids, and the scrubbing of personal data from free text."""
