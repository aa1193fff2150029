"""From scored candidates to the list that is shown: its order, its variety, and its places for new items. Pure."""
