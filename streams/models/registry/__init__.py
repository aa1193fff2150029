"""The model registry: signed versions in a store, announced on the topic ``models``. No torch here."""
