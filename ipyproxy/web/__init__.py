"""The Resource tree: what each public path leads to, and the pages that people see."""
