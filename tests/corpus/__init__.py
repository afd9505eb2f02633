"""Raw messages, good and bad, with what must become of each."""
