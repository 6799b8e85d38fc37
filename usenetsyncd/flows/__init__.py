"""The verbs, each told from top to bottom."""
