"""Predict memory and time of a run before anything is downloaded or trained, and recommend a method; no torch here."""
