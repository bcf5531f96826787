"""What is looked into: quarantine, scoreboard, leakage, late data, lineage."""
