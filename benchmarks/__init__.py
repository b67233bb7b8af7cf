"""What is claimed, measured: corpus, output and timing are shared, one file for each claim."""
