"""The systems beside us, each as its own documentation would have it set up, in a file of its own."""
