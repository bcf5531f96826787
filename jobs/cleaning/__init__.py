"""Every landed row judged: kept, duplicate, quarantined or erased."""
