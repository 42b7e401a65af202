"""The command line of the package: one function per command."""
