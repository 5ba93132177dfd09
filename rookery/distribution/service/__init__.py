"""What nodes ask of each other: who may log in, where an account is, whether an address exists."""
