"""The daemon on real sockets with notebooks that the tests play: streams, bounds and clocks."""
