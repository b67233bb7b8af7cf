"""What is planted: patterns, keys and keyrings, noise, and images with their records."""
