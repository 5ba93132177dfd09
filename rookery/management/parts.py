"""The opened parts of a site: what operations work on, on a running node and on a stopped one alike.

Opening takes the store's lock, so there is only ever one process with a site's parts in its hands.
"""
