"""A simulated market, with everything that goes wrong in logs."""
