"""Fuzzing: ``python -m fuzz TARGET [libFuzzer options]``; needs atheris."""
