"""End-to-end tests of training and scoring on one small model, which they share."""
