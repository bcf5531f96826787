"""How good a model is, beside its twins and the champion."""
