"""What is kept outside of this process and read again and again: watched, and away at times."""
