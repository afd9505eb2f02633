"""Galaxy's interactive tools: reads the map in which Galaxy lists them."""
