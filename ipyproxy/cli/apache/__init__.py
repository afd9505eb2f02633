"""``ipyproxy import-apache``: Apache's configuration in the words of ours."""
