"""Frames, the states of a bridge, the two handshakes, and the bridge itself."""
