"""Values of states, sealed on disk and in changelogs (docs/at-rest.md)."""
