"""Sweeps: one method over a whole fact set, in this process or on many machines, without ever losing or repeating work."""
