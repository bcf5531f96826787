"""Fitting: losses, early stopping, calibration."""
