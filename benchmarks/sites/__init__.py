"""Our own side: a Django site that uses the public names of the library only."""
