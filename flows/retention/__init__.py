"""What goes: old files and snapshots, and people who ask to be erased."""
