"""Files of this host as answers: static directories, and files that an application names."""
