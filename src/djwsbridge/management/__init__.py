"""Management commands of the library."""
