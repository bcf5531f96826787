"""How a process ends: errors as sentences, signals, children."""
