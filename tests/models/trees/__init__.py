"""Boosted trees and their mixture with the network."""
