"""What a project tests itself with: histories of what its clients did, and a judge of them."""
