"""What a good user has to wait while somebody attacks: ipyproxy beside nginx, by one script.

``python -m tests.attacks`` prints the table; ``test_good_user.py`` is the short form. Every process
of an attack runs below the priority of the daemon and of the good user, so that the daemon is what
makes him wait, and not the attackers' own hunger for the processor.
"""
