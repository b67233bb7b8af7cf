"""Whose name an image carries: presence by the pilot, the series by the address, identity by the name."""
