"""The command line: one file per command; the packages that do the work are imported when a command runs."""
