"""Pulumi provider plugins of the project's own."""
