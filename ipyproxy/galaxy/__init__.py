"""Galaxy's interactive tools: the map that Galaxy keeps of them, read from wherever it is."""
