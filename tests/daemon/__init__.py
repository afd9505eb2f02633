"""The daemon as a process: signals, systemd, overload; real sockets, real time."""
