"""The audit: what was done, by whom and when, as chains of signed links. docs/audit.md says what that proves."""
