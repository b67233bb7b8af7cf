"""One file for each family of pipelines."""
