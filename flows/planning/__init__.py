"""What a run will do, as one list of stages, before anything runs."""
