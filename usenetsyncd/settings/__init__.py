"""Configuration: schema, layers with origins, difference between two settings."""
