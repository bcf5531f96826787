"""Pictures: decoded safely, hashed, and classified by a small network or a plugged-in encoder."""
