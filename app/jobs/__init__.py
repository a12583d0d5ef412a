"""Jobs: what is asked to be trained, the queue it waits in, and the loss history it leaves.

A job is a row. Clients read it, a worker claims it, and every change of its status is one guarded update.
"""
