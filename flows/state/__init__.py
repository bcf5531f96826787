"""The SQL database: receipts, releases, who writes."""
