"""Key material and credentials at rest."""
