"""Words used everywhere: errors, ids, clocks, number sets, configuration, log. Imports nothing of Rookery."""
