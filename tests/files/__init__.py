"""Tests of the Resource tree."""
