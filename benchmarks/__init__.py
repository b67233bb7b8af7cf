"""What is claimed, measured: corpus, damage, output and timing are shared, one file for each claim."""
