"""The log: the durable events of a topic, in seq order."""
