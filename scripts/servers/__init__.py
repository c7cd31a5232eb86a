"""Real vLLM and SGLang servers on a CPU machine, for the integration tests in ``tests/servers``.

``kinds`` says which servers there are and where they are kept, ``room`` whether the machine is
large enough, ``install`` makes their environments, ``weights`` the model's files for them, and
``launch`` starts and stops them.
"""
