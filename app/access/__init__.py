"""Who asks, and what they may do: keys with scopes, owners of datasets, jobs and models, what is shared.

Every request has a viewer, set before any handler runs. What finds datasets, jobs and models asks it, in one place
(`viewer.visible`), so that no handler can forget to.
"""
