"""The ordinary stack: a Channels consumer as its tutorial would write it, on Daphne, with channels_redis."""
