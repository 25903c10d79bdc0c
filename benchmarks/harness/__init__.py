"""What all questions share: starting servers on their core, running the load generator, writing results."""
