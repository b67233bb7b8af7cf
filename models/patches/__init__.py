"""The same function at less cost: changes to diffusers' modules, in place."""
