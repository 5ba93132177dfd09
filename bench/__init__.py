"""Speed, side by side with the peers in one run: `make bench`. Never asserted in a timed test."""
