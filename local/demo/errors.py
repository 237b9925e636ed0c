"""What can go wrong in the demonstration itself."""


class DemoFailed(Exception):
    """Something that the demonstration shows did not happen, or could not be seen; the message says what."""
