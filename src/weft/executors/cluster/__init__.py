"""Executors on clusters, and the batch systems that they use."""
