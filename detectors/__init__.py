"""Initial noise -> verdict: whitening, alignment, reading, the test, and the plan of looks."""
