"""The default text model: members whose mean is published, what they read, and how it is kept."""
