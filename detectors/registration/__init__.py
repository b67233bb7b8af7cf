"""Recovered noise + pilot -> where each marked part of a picture lies in it, and how it was bent."""
